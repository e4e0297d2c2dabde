-- Prints wrk's result as one line of JSON. It defines only `done`: a `request` or `response` function would be
-- called for each request and slow the client.
function done(summary, latency, requests)
  io.write(string.format(
    '{"duration_us":%d,"requests":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.duration, summary.requests, summary.bytes, latency:percentile(50), latency:percentile(99),
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status, summary.errors.timeout))
end
