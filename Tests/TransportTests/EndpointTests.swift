import TestSupport
import Testing
import Transport

@Suite("Endpoints")
struct EndpointTests {
  @Test(
    "URIs as QEMU writes them",
    arguments: [
      ("tcp:localhost:4444", Endpoint.tcp(host: "localhost", port: 4444)),
      ("tcp:127.0.0.1:0", .tcp(host: "127.0.0.1", port: 0)),
      ("tcp::4444", .tcp(host: "", port: 4444)),
      ("tcp:[::1]:65535", .tcp(host: "::1", port: 65535)),
      ("tcp:[::]:0", .tcp(host: "::", port: 0)),
      ("tcp:[fe80::1%eth0]:4444", .tcp(host: "fe80::1%eth0", port: 4444)),
      ("tcp:[]:1", .tcp(host: "", port: 1)),
      ("tcp:::1:80", .tcp(host: "::1", port: 80)),
      ("unix:/run/migration.sock", .unix(path: "/run/migration.sock")),
      ("unix:a", .unix(path: "a")),
      ("unix:/with:colon", .unix(path: "/with:colon")),
      (
        "unix:" + String(repeating: "x", count: 107),
        .unix(path: String(repeating: "x", count: 107))
      ),
    ])
  func parse(text: String, endpoint: Endpoint) throws {
    #expect(try Endpoint(parsing: text) == endpoint)
    #expect(try Endpoint(parsing: endpoint.description) == endpoint, "what it prints, it reads")
  }

  @Test(
    "Descriptors, in the order in which they are used",
    arguments: [("fd:3", [3]), ("fd:2147483647", [.max]), ("fd:5,4,13", [5, 4, 13])]
      as [(String, [Int32])])
  func descriptors(text: String, numbers: [Int32]) throws {
    let endpoint = try Endpoint(parsing: text)
    #expect(endpoint.passed?.numbers == numbers)
    #expect("\(endpoint)" == text)
    #expect(try Endpoint(parsing: text) == endpoint)
    #expect(try Endpoint(parsing: text + ",99") != endpoint)
  }

  @Test(
    "What is none, each with a reason that quotes it",
    arguments: [
      "", "tcp", "tcp:", "tcp:host", "tcp:host:", "tcp:host:port", "tcp:host:65536", "tcp:host:-1",
      "tcp:host:1 ", "tcp:host:0x10", "TCP:host:1", "unix:",
      "unix:" + String(repeating: "x", count: 108), "unix:" + String(repeating: "ü", count: 54),
      "vsock:1:2", "exec:cat", "localhost:4444", ":", "::",
      "fd:", "fd:x", "fd:0", "fd:2", "fd:-3", "fd:+3", "fd:03", "fd: 3", "fd:3 ", "fd:3,", "fd:,3",
      "fd:3,,4", "fd:3,3", "fd:3,4,3", "fd:3,1", "fd:2147483648", "fd:/run/socket", "FD:3",
    ])
  func refuse(text: String) {
    do {
      let endpoint = try Endpoint(parsing: text)
      Issue.record("'\(text)' became \(endpoint)")
    } catch {
      #expect(error.kind == .badURI)
      #expect(error.message.contains("'\(text)'"))
    }
  }
}
