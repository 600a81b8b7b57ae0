import Foundation
import Observe

/// The times of a primary's COLO messages, from its own trace log: `-trace colo_*` of a QEMU whose
/// trace goes to the log, as Debian's, Fedora's and the project's own builds do.
package struct CheckpointTrace {
  /// VMSTATE_SEND to VMSTATE_RECEIVED, of each checkpoint that was loaded.
  package private(set) var transfers: [Duration] = []
  /// VMSTATE_RECEIVED to VMSTATE_LOADED.
  package private(set) var loads: [Duration] = []

  /// Arguments that make a primary write it.
  static func arguments(_ path: String) -> [String] {
    [
      "-msg", "timestamp=on", "-D", path, "-trace", "enable=colo_send_message", "-trace",
      "enable=colo_receive_message",
    ]
  }

  /// Reads a log, as QEMU writes it since 10.1, and before:
  ///
  ///     2026-11-25T22:47:46.268598Z colo_send_message Send 'vmstate-send' message
  ///     4711@1700000000.127001:colo_receive_message Receive 'vmstate-received' message
  package init(parsing text: String) {
    var sent: Duration?
    var received: Duration?
    for line in text.split(whereSeparator: \.isNewline) {
      guard let (time, message) = Self.parse(line) else { continue }
      switch message {
      case "vmstate-send": (sent, received) = (time, nil)
      case "vmstate-received": received = time
      case "vmstate-loaded":
        guard let begun = sent, let complete = received else { break }
        transfers.append(complete - begun)
        loads.append(time - complete)
        (sent, received) = (nil, nil)
      default: break
      }
    }
  }

  private static func parse(_ line: Substring) -> (Duration, Substring)? {
    let words = line.split(separator: "'")
    guard words.count > 1, let name = words[0].range(of: "colo_") else { return nil }
    let numbers = line[..<name.lowerBound].split { !$0.isNumber }.compactMap { Int($0) }
    switch numbers.count {
    case 3:  // pid, seconds since 1970, microseconds
      return (.seconds(numbers[1]) + .microseconds(numbers[2]), words[1])
    case 7:
      var time = tm()
      (time.tm_year, time.tm_mon) = (Int32(numbers[0] - 1900), Int32(numbers[1] - 1))
      (time.tm_mday, time.tm_hour) = (Int32(numbers[2]), Int32(numbers[3]))
      (time.tm_min, time.tm_sec) = (Int32(numbers[4]), Int32(numbers[5]))
      return (.seconds(timegm(&time)) + .microseconds(numbers[6]), words[1])
    default: return nil
    }
  }
}
