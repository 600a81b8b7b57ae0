// multifd-lab: the project's own laboratory. It runs `multifd` against stock QEMUs with a guest
// that checks its own memory, and says in numbers or in sentences what happened. Support/setup
// fetches what it needs.

import ArgumentParser
import Foundation
import TestSupport

/// The command line of the lab.
@main
struct MultiFDLab: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "multifd-lab",
    abstract: "Runs multifd against stock QEMUs, with a guest that checks its own memory.",
    subcommands: [
      Interop.self, Demo.self, Bench.self, Check.self, COLOCommand.self, QEMUCommand.self,
      RelayKillCommand.self, ProtectCommand.self, ProtectRestarts.self, ProtectCost.self,
      SoakCommand.self,
    ])

  static func main() {
    // An interrupted run leaves no folder behind: exit() removes them. The child processes end with
    // this one.
    signal(SIGPIPE, SIG_IGN)
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { Foundation.exit(128 + number) }
      source.activate()
      signals.update { $0.append(source) }
    }
    self.main(nil)
  }

  private static let signals = Monitor<[any DispatchSourceSignal]>([])
}

/// A comma-separated list of values on the command line.
struct List<Element: ExpressibleByArgument>: ExpressibleByArgument {
  let elements: [Element]

  init(_ elements: [Element]) { self.elements = elements }

  init?(argument: String) {
    let words = argument.split(separator: ",").map(String.init)
    let elements = words.compactMap { Element(argument: $0) }
    guard elements.count == words.count, !words.isEmpty else { return nil }
    self.elements = elements
  }

  var defaultValueDescription: String {
    elements.map(\.defaultValueDescription).joined(separator: ",")
  }
}

extension QEMUVersion: ExpressibleByArgument {
  /// `72`, `100`, `111`, or with its dot.
  public init?(argument: String) {
    self.init(rawValue: argument.filter { $0 != "." })
  }

  /// As it is typed.
  public var defaultValueDescription: String { rawValue }
}

/// Prints a line on stdout at once, also into a pipe.
func say(_ text: String) { put(text, 1) }

/// Prints a line on stderr: progress, as opposed to results.
func note(_ text: String) { put(text, 2) }

private func put(_ text: String, _ descriptor: Int32) {
  var rest = Array((text + "\n").utf8)[...]
  while !rest.isEmpty {
    // The slice's storage is valid within the closure.
    let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    // Nobody reads any more: exit, which cleans up.
    guard count > 0 || errno == EINTR else { exit(1) }
    rest = rest.dropFirst(max(0, count))
  }
}

/// A duration as `1.23 s`.
func seconds(_ duration: Duration) -> String { String(format: "%.2f s", duration.inSeconds) }

/// A size as people read it: `123.4 MiB`.
func size(_ bytes: Int) -> String {
  bytes < 1 << 20
    ? String(format: "%.1f KiB", Double(bytes) / 1024)
    : String(format: "%.1f MiB", Double(bytes) / Double(1 << 20))
}
