// Go's net/http as a client: asks for paths one after the other on kept connections, some at a time, and tells
// what it got, a JSON object a line. Its transport asks for gzip and decodes by itself.
//
//	client URL METHOD:PATH…
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"time"
)

type told struct {
	Asked   string
	Status  int
	Hash    string
	Length  int64
	Decoded bool
	Reused  bool
	Hints   int
	Header  http.Header
	Trailer http.Header
}

// What is posted; the server is asked to say that it wants it.
var sent = bytes.Repeat([]byte("a line that is sent\n"), 10000)

func ask(client *http.Client, url string, asked string) (told, error) {
	answer := told{Asked: asked}
	method, path, _ := strings.Cut(asked, ":")
	var body io.Reader
	if method == "POST" {
		body = bytes.NewReader(sent)
	}
	request, err := http.NewRequest(method, url+path, body)
	if err != nil {
		return answer, err
	}
	if body != nil {
		request.Header.Set("Expect", "100-continue")
		request.Header.Set("Content-Type", "application/octet-stream")
	}
	trace := &httptrace.ClientTrace{
		GotConn:        func(connection httptrace.GotConnInfo) { answer.Reused = connection.Reused },
		Got1xxResponse: func(int, textproto.MIMEHeader) error { answer.Hints++; return nil },
	}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	digest := sha256.New()
	if answer.Length, err = io.Copy(digest, response.Body); err != nil {
		return answer, err
	}
	answer.Status, answer.Decoded = response.StatusCode, response.Uncompressed
	answer.Hash = hex.EncodeToString(digest.Sum(nil))
	answer.Header, answer.Trailer = response.Header, response.Trailer
	return answer, nil
}

func main() {
	client := &http.Client{Timeout: time.Minute}
	client.Transport = &http.Transport{ExpectContinueTimeout: time.Minute, MaxIdleConnsPerHost: 4}
	var group sync.WaitGroup
	var lock sync.Mutex
	out := json.NewEncoder(os.Stdout)
	for worker := 0; worker < 4; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for _, asked := range os.Args[2:] {
				answer, err := ask(client, os.Args[1], asked)
				if err != nil {
					os.Stderr.WriteString(asked + ": " + err.Error() + "\n")
					os.Exit(1)
				}
				lock.Lock()
				out.Encode(answer)
				lock.Unlock()
			}
		}()
	}
	group.Wait()
}
