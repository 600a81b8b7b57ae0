import Foundation
import Glibc
import TestSupport

/// A `multifd protect` as a standby sees it: what it says is its caller's to choose.
final class ControlClient: Sendable {
  /// What the standby has said: a line for each message, until it closes.
  let heard = TextLog()
  private let socket: Int32
  /// Nobody reads from it any more: its number may become another's.
  private let isRead: Monitor<Bool>

  /// Connects, and says hello.
  ///
  /// - Parameter reads: whether it ever takes anything.
  init(_ uri: String, hello: String = "{\"version\":1}\n", reads: Bool = true) throws {
    socket = try Primary.connect(uri)
    isRead = Monitor(!reads)
    let (socket, heard, isRead) = (socket, heard, isRead)
    Sockets.write(socket, Array("MFDC".utf8) + UInt32(hello.utf8.count).big + Array(hello.utf8))
    guard reads else { return }
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = Sockets.read(socket, &buffer), count > 0 {
        heard.append(buffer[..<count])
      }
      heard.end()
      isRead.update { $0 = true }
    }
  }

  /// Says a line.
  func say(_ message: JSON) { say(text: message.text + "\n") }

  /// Says anything.
  func say(text: String) { Sockets.write(socket, Array(text.utf8)) }

  /// The messages so far.
  var messages: [JSON] { heard.lines.compactMap { try? JSON(parsing: $0.text.utf8) } }

  /// Waits for a message.
  @discardableResult
  func wait(from start: Int = 0, for match: @escaping (JSON) -> Bool) throws -> JSON {
    let found = heard.wait(from: start, .seconds(20)) { line -> JSON? in
      guard let message = try? JSON(parsing: line.text.utf8), match(message) else { return nil }
      return message
    }
    guard let found else {
      throw LabError("the standby does not say it: \(heard.text.suffix(600))")
    }
    return found
  }

  /// Leaves.
  func close() { shutdown(socket, Int32(SHUT_RDWR)) }

  deinit {
    close()
    _ = isRead.wait(.seconds(20)) { $0 ? true : nil }
    Glibc.close(socket)
  }
}
