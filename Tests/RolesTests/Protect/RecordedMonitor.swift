import Foundation
import Roles
import TestSupport
import Testing

/// A monitor that gives the answers which a stock QEMU 11.1 has given: `Tests/Fixtures/qmp`, a line
/// of JSON for each command, with its answer.
struct RecordedMonitor: GuestMonitor {
  let answers: [QMPValue]
  /// Other answers than the recorded ones, by command; of one about an object by `COMMAND PATH`.
  var instead: [String: QMPValue] = [:]
  let tellsEvents = false
  let takesOutOfBand = false
  let user: UInt32? = nil

  init(_ name: String) throws {
    let file = Fixtures.folder.appending(path: "qmp/\(name).jsonl")
    answers = try Fixtures.bytes(file).split(separator: UInt8(ascii: "\n")).map { line in
      try #require(QMPValue(parsing: line))
    }
  }

  func execute(
    _ command: String, _ arguments: QMPValue, within seconds: Double, outOfBand: Bool
  ) throws(MonitorError) -> QMPValue {
    let path = arguments["path"].string.map { " " + $0 } ?? ""
    if let answer = instead[command + path] ?? instead[command] { return answer }
    let recorded = answers.first {
      $0["execute"].string == command && $0["arguments"] == arguments
    }
    guard let recorded else {
      throw MonitorError(.closed, "\(command) \(arguments.text) is not recorded")
    }
    guard case .null = recorded["error"] else {
      throw MonitorError(.refused, "\(command): \(recorded["error"]["desc"].string ?? "")")
    }
    return recorded["return"]
  }
}
