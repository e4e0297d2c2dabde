// The JDK's HttpServer over a directory: files, and for uploads /hash and /echo.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;

class FileServer {
    public static void main(String[] args) throws IOException {
        Path root = Path.of(args[1]);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 1024);
        server.createContext("/", exchange -> file(exchange, root));
        server.createContext("/hash", FileServer::hash);
        server.createContext("/echo", FileServer::echo);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }

    // In HttpServer's API a length of 0 means chunked and -1 means no body.
    static void start(HttpExchange exchange, long length) throws IOException {
        exchange.sendResponseHeaders(200, length == 0 ? -1 : length);
    }

    static void file(HttpExchange exchange, Path root) throws IOException {
        try (exchange) {
            Path path = root.resolve(exchange.getRequestURI().getPath().substring(1));
            start(exchange, Files.size(path));
            if (Files.size(path) > 0) {
                Files.copy(path, exchange.getResponseBody());
            }
        }
    }

    static void hash(HttpExchange exchange) throws IOException {
        try (exchange) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            InputStream body = exchange.getRequestBody();
            byte[] buffer = new byte[65536];
            for (int n; (n = body.read(buffer)) > 0; ) {
                digest.update(buffer, 0, n);
            }
            byte[] answer = HexFormat.of().formatHex(digest.digest()).getBytes();
            start(exchange, answer.length);
            exchange.getResponseBody().write(answer);
        } catch (java.security.NoSuchAlgorithmException error) {
            throw new IOException(error);
        }
    }

    static void echo(HttpExchange exchange) throws IOException {
        try (exchange) {
            long length = Long.parseLong(exchange.getRequestHeaders().getFirst("Content-Length"));
            start(exchange, length);
            if (length > 0) {
                OutputStream out = exchange.getResponseBody();
                exchange.getRequestBody().transferTo(out);
            }
        }
    }
}
