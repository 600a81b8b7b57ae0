import Foundation
import Migration
import System

/// A monitor behind a command that takes one QMP command as its last argument and prints the
/// answer, as `virsh qemu-monitor-command GUEST` does. A process a command; no events, nothing out
/// of band.
package struct QMPCommand: GuestMonitor {
  /// A shell's command, to which the argument is appended.
  package let command: String

  /// A monitor behind a shell's command.
  package init(_ command: String) { self.command = command }

  /// See ``GuestMonitor``.
  package var tellsEvents: Bool { false }
  /// See ``GuestMonitor``.
  package var takesOutOfBand: Bool { false }
  /// See ``GuestMonitor``.
  package var user: UInt32? { nil }

  /// See ``GuestMonitor``.
  package func execute(
    _ name: String, _ arguments: QMPValue, within seconds: Double, outOfBand: Bool
  ) throws(MonitorError) -> QMPValue {
    var message: [String: QMPValue] = ["execute": .string(name)]
    if arguments != .null { message["arguments"] = arguments }
    let script = "\(command) \"$1\""
    let child: Child
    let output: OutputPipe
    let errors: OutputPipe
    do {
      output = try OutputPipe(.kept(1 << 24))
      errors = try OutputPipe(.kept(1 << 12))
      child = try Child(
        ["/bin/sh", "-c", script, "sh", QMPValue.object(message).text],
        output: .descriptor(output.input), errors: .descriptor(errors.input), in: .ownGroup)
    } catch { throw MonitorError(.silent, "\(name): \(error)") }
    defer { child.kill() }
    guard child.follow(output, errors, within: .seconds(seconds)) else {
      throw MonitorError(.silent, "no answer to \(name) within \(seconds) s")
    }
    // The answer alone, or among events that it prints as well.
    let answers = output.bytes.split(separator: UInt8(ascii: "\n")).compactMap {
      QMPValue(parsing: $0)
    }
    let answer =
      QMPValue(parsing: output.bytes)
      ?? answers.last { $0.keys.contains("return") || $0.keys.contains("error") }
    guard let answer, answer.keys.contains("return") || answer.keys.contains("error") else {
      let said = String(decoding: errors.bytes.isEmpty ? output.bytes : errors.bytes, as: UTF8.self)
        .replacing("\n", with: " ").prefix(200)
      throw MonitorError(.silent, "\(name): '\(command)' gave no answer: \(said)")
    }
    guard case .null = answer["error"] else {
      throw MonitorError(.refused, "\(name): \(answer["error"]["desc"].string ?? "failed")")
    }
    return answer["return"]
  }
}
