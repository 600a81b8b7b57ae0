import Foundation
import Migration
import Roles
import TestSupport
import Testing
import Transport

@Suite("Metrics over HTTP", .serialized)
struct MetricsServerTests {
  private let server: MetricsServer
  private let port: Int

  init() throws {
    server = try MetricsServer(on: .tcp(host: "127.0.0.1", port: 0), insecure: false) { .example }
    guard case .tcp(_, let port) = server.endpoint else { throw LabError("no port") }
    self.port = Int(port)
  }

  /// What comes until it is closed.
  private func answer(_ request: String) throws -> (head: String, body: String) {
    let text = try Sockets.ask(port: port, request)
    guard let end = text.range(of: "\r\n\r\n") else { return (text, "") }
    return (String(text[..<end.lowerBound]), String(text[end.upperBound...]))
  }

  @Test("Each scraper gets the format that it takes")
  func scrape() throws {
    defer { server.close() }
    let plain = try answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(plain.head.hasPrefix("HTTP/1.1 200 OK\r\n"))
    #expect(plain.head.contains("Content-Type: text/plain; version=0.0.4"))
    #expect(plain.body.contains("# TYPE multifd_pages_total counter\n"))
    #expect(plain.head.contains("Content-Length: \(plain.body.utf8.count)\r\n"))
    let open = try answer(
      "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n"
    )
    #expect(open.head.contains("Content-Type: application/openmetrics-text"))
    #expect(open.body.hasSuffix("# EOF\n"))
    let status = try answer("GET /status HTTP/1.0\n\n")
    let value = try JSONDecoder().decode(RoleStatus.self, from: Data(status.body.utf8))
    #expect(value.checkpoints == RoleStatus.example.checkpoints && value.phase == "committed")
    let page = try answer("GET / HTTP/1.1\r\n\r\n")
    #expect(page.head.contains("default-src 'none'") && page.body.contains("<!DOCTYPE html>"))
    // It works without any network.
    #expect(!page.body.replacing("http://www.w3.org/2000/svg", with: "").contains("://"))
  }

  @Test("Anything else is refused")
  func others() throws {
    defer { server.close() }
    #expect(try answer("GET /x HTTP/1.1\r\n\r\n").head.hasPrefix("HTTP/1.1 404 "))
    #expect(try answer("POST /metrics HTTP/1.1\r\n\r\n").head.hasPrefix("HTTP/1.1 405 "))
    for text in [
      "nonsense\r\n\r\n", "GET /metrics\r\n\r\n", "GET / FTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\n" + String(repeating: "a: b\r\n", count: 200) + "\r\n",
      "GET /" + String(repeating: "a", count: 1 << 15) + " HTTP/1.1\r\n\r\n",
    ] { #expect(try answer(text) == ("", "")) }
  }

  @Test("Those that stop in the middle keep nobody out")
  func slow() throws {
    defer { server.close() }
    let slow = try (0..<100).map { _ in try #require(Sockets.connect(port: port)) }
    defer { for descriptor in slow { close(descriptor) } }
    for descriptor in slow { Sockets.write(descriptor, Array("GET /me".utf8)[...]) }
    #expect(try answer("GET /metrics HTTP/1.1\r\n\r\n").body.contains("multifd_phase"))
  }

  @Test("Without leave only this machine can have them")
  func exposed() throws {
    defer { server.close() }
    let error = #expect(throws: Failure.self) {
      try MetricsServer(on: .tcp(host: "0.0.0.0", port: 0), insecure: false) { nil }
    }
    #expect(error?.kind == .usage)
    try MetricsServer(on: .tcp(host: "0.0.0.0", port: 0), insecure: true) { nil }.close()
  }
}
