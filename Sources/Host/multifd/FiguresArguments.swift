import ArgumentParser
import Foundation
import Migration
import Roles
import System
import Transport
import Version

/// How a role tells what it is doing: `--control`, `--metrics`, `--metrics-file`, `--log-format`.
struct FiguresArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The control socket, on which QMP is spoken: a path. By default 'control' in the store.",
      valueName: "path"), completion: .file())
  var control: String?

  @Option(
    help: ArgumentHelp(
      "Serve figures over HTTP: /metrics for Prometheus, and a page. tcp:HOST:PORT or unix:PATH.",
      discussion:
        "Others than this machine can have them with --metrics-insecure only: there is no TLS.",
      valueName: "uri"))
  var metrics: String?

  @Flag(help: "Others than this machine may have the figures.")
  var metricsInsecure = false

  @Option(
    help: ArgumentHelp(
      "A file that has the figures too, also when it is over, for a textfile collector.",
      valueName: "path"), completion: .file())
  var metricsFile: String?

  @Option(
    help: ArgumentHelp(
      "What is said on stderr: text, json (an object a line), or journal (text with priorities).",
      discussion: "auto: journal where stderr is the journal's, else text."))
  var logFormat = LogFormat.auto

  func validate() throws {
    guard metrics != nil || !metricsInsecure else {
      throw ValidationError("--metrics-insecure belongs to --metrics")
    }
  }

  /// Before anything is started, and once.
  func options() throws -> FiguresOptions {
    var options = FiguresOptions(version: multifdVersion)
    do { options.metrics = try metrics.map { try Endpoint(parsing: $0) } } catch {
      throw Failure(error, at: "metrics")
    }
    guard options.metrics?.passed == nil else {
      throw Failure(.usage, "metrics", "--metrics takes tcp: or unix:")
    }
    if let endpoint = options.metrics {
      do throws(TransportError) {
        try Listener.check(endpoint, tls: nil, insecure: metricsInsecure)
      } catch {
        guard error.kind == .exposed else { throw Failure(error, at: "metrics") }
        throw Failure(
          .usage, "metrics", "others than this machine could read what \(endpoint) tells",
          hint: "say --metrics-insecure, or listen on 127.0.0.1")
      }
    }
    (options.control, options.file) = (control, metricsFile)
    options.insecure = metricsInsecure
    options.manager = .takeFromEnvironment()
    return options
  }

  /// The desk of a role that works in a process of its own.
  ///
  /// - Parameter orders: what its operator can have beside `query-status` and `quit`.
  func desk(
    _ options: FiguresOptions, store: String? = nil, orders: [String: ControlSocket.Order] = [:]
  ) -> FiguresDesk {
    var orders = orders
    orders["quit"] = { _ in
      // As if a signal had asked for it: so it ends in the same order.
      kill(getpid(), SIGTERM)
      return [:]
    }
    return FiguresDesk(options, store: store, orders: orders, log: Console.note)
  }
}
