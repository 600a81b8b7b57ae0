import Foundation
import Glibc
import TestSupport

/// A host that does what it can to a process that listens: many connections, each of which stops at
/// some step of what it begins, and stays. It is another one than the tests' sources: all of
/// 127.0.0.0/8 are this machine's.
final class Siege: Sendable {
  /// What a process has taken at the most.
  struct Figures: Sendable, CustomStringConvertible {
    var threads = 0
    var descriptors = 0
    /// Bytes of memory that are its own.
    var memory = 0

    var description: String {
      "\(threads) threads, \(descriptors) descriptors, \(memory >> 20) MiB"
    }

    init() {}

    /// Now; nil when the process is gone.
    init?(of pid: pid_t) {
      guard
        let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
        let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")
      else { return nil }
      func number(_ name: String) -> Int {
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
          ?? 0
      }
      (threads, memory) = (number("Threads"), number("RssAnon") << 10)
      descriptors = open.count
    }

    mutating func rise(to other: Figures) {
      threads = max(threads, other.threads)
      descriptors = max(descriptors, other.descriptors)
      memory = max(memory, other.memory)
    }
  }

  private struct State {
    var made = 0
    var figures = Figures()
    var isOver = false
    var hasEnded = false
  }

  /// Whose it is.
  static let address = "127.0.0.2"
  private let state = Monitor(State())

  /// Begins.
  ///
  /// - Parameters:
  ///   - port: of 127.0.0.1.
  ///   - words: what connections say, one after the other.
  ///   - count: how many are made; those that the process closes are not made anew.
  init(_ port: Int, of pid: pid_t, saying words: [[UInt8]], count: Int) {
    Self.raiseDescriptors()
    Thread.detachNewThread { [state] in
      var sockets: [Int32] = []
      for index in 0..<count where !state.update({ $0.isOver }) {
        if let socket = Sockets.connect(port: port, from: Self.address) {
          sockets.append(socket)
          Sockets.write(socket, words[index % words.count])
        }
        state.update { $0.made += 1 }
        if index % 100 == 99, let figures = Figures(of: pid) {
          state.update { $0.figures.rise(to: figures) }
        }
      }
      while state.wait(.milliseconds(50), for: { $0.isOver ? true : nil }) == nil {
        if let figures = Figures(of: pid) { state.update { $0.figures.rise(to: figures) } }
      }
      for socket in sockets { close(socket) }
      state.update { $0.hasEnded = true }
    }
  }

  /// Waits until so many connections have been made.
  func waits(for count: Int) -> Bool {
    state.wait(.seconds(60)) { $0.made >= count ? true : nil } ?? false
  }

  /// Lets go.
  ///
  /// - Returns: what the process has taken meanwhile.
  @discardableResult
  func end() -> Figures {
    state.update { $0.isOver = true }
    _ = state.wait(.seconds(60)) { $0.hasEnded ? true : nil }
    return state.update { $0.figures }
  }

  /// For both ends of all of them.
  private static func raiseDescriptors() {
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    getrlimit(files, &limit)
    limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 16384))
    setrlimit(files, &limit)
  }

  /// What begins like a source's, a link's or a protect's connection, and stops.
  static let halves: [[UInt8]] = {
    // A whole init packet of channel 0, of another guest.
    var channel: [UInt8] = [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1]
    channel += [UInt8](repeating: 7, count: 16)
    channel += [UInt8](repeating: 0, count: 40)
    let hello = Array("MFDL".utf8) + [0, 0, 0, 1, 0, 0, 1, 0, 1, 2, 3]
    let control = Array("MFDC".utf8) + UInt32(100).big + Array("{\"version\"".utf8)
    return Stray.all.filter { !$0.closes }.map(\.bytes) + [channel, hello, control]
  }()
}
