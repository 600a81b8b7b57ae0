import Migration
import System
import Transport

/// Figures over HTTP, for whoever scrapes them: `/metrics`; `/status`, the same as JSON; and `/`, a
/// page that draws them. Nothing can be changed by way of it.
package final class MetricsServer: Sendable {
  private let server: ConnectionServer
  /// Where it listens.
  package let endpoint: Endpoint

  /// How many are answered at once; a scrape takes a moment.
  private static let mostClients = 32
  /// Seconds that a request and its answer may take, however slowly they come.
  private static let lifetime = 5.0
  /// The longest line of a request.
  private static let longest = 1 << 13
  /// The most of them.
  private static let mostLines = 100

  /// Listens.
  ///
  /// - Parameters:
  ///   - insecure: others than this machine may connect.
  ///   - status: what there is to tell; nil: nothing yet.
  package init(
    on endpoint: Endpoint, insecure: Bool, status: @escaping @Sendable () -> RoleStatus?
  ) throws(Failure) {
    do {
      let listener = try Listener(
        on: endpoint, timeout: Self.lifetime, insecure: insecure, peer: "the scraper")
      self.endpoint = listener.endpoint
      server = try ConnectionServer(
        listener, "metrics", atMost: Self.mostClients, lifetime: Self.lifetime
      ) { socket in
        guard let request = try? Self.request(socket) else { return }
        try? socket.write(Array(Self.response(to: request, status).utf8))
        socket.finishWriting()
        // What is still to be read would have the kernel reset the connection under the answer.
        socket.drain(seconds: 1)
      }
    } catch { throw Failure(error, at: "metrics") }
  }

  /// Nobody is answered any more.
  package func close() { server.close() }

  private struct Request {
    var method: String
    var path: String
    var takesOpenMetrics: Bool
  }

  /// - Returns: nil where none has come, or what has come is none.
  private static func request(_ socket: Socket) throws -> Request? {
    var input = InputBuffer(socket, capacity: 1 << 12)
    var lines: [String] = []
    while case .line(let bytes) = try input.line(atMost: longest) {
      let line = String(decoding: bytes.last == 13 ? bytes.dropLast() : bytes[...], as: UTF8.self)
      if line.isEmpty { break }
      lines.append(line)
      guard lines.count <= mostLines else { return nil }
    }
    let words = (lines.first ?? "").split(separator: " ")
    guard words.count == 3, words[2].hasPrefix("HTTP/1.") else { return nil }
    let accept = lines.dropFirst().first { $0.lowercased().hasPrefix("accept:") } ?? ""
    return Request(
      method: String(words[0]), path: String(words[1].prefix { $0 != "?" }),
      takesOpenMetrics: accept.contains("application/openmetrics-text"))
  }

  private static func response(
    to request: Request, _ status: () -> RoleStatus?
  ) -> String {
    guard request.method == "GET" else {
      return response(405, "Method Not Allowed", "text/plain", "only GET\n", "Allow: GET\r\n")
    }
    switch request.path {
    case "/metrics":
      let format: Metrics.Format = request.takesOpenMetrics ? .openMetrics : .prometheus
      return response(200, "OK", format.contentType, Metrics(status(), format).text)
    case "/status":
      let text = status().map { QMPValue(encoding: $0).text } ?? "null"
      return response(200, "OK", "application/json", text + "\n")
    case "/":
      // It loads nothing from anywhere, and talks to where it came from alone.
      let policy =
        "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; "
        + "style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'\r\n"
      return response(200, "OK", "text/html; charset=utf-8", StatusPage.html, policy)
    default: return response(404, "Not Found", "text/plain", "/, /metrics or /status\n")
    }
  }

  private static func response(
    _ code: Int, _ reason: String, _ type: String, _ body: String, _ more: String = ""
  ) -> String {
    "HTTP/1.1 \(code) \(reason)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
      + "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\(more)"
      + "Connection: close\r\n\r\n\(body)"
  }
}
