import Foundation
import Glibc
import Memory
import Migration
import Transport

/// What a worker tells its guardian.
enum WorkerMessage: Codable, Sendable {
  /// A standby holds the guest as of the end of precopy.
  case ready
  /// What it is doing.
  case status(RoleStatus)
  /// Something has failed, and the worker is about to end because of it.
  case failing(Failure)
  /// How it ended: the last message.
  case ended(WorkerEnd)
}

/// What a guardian tells its worker.
enum GuardianMessage: Codable, Sendable {
  /// End, for this reason, and leave everything in order.
  case cancel(Failure)
  /// Send no more than so many bytes a second; 0: as many as go.
  case limit(UInt64)
  /// Send nothing on, or go on.
  case hold(Bool)
}

/// How a worker ended.
public struct WorkerEnd: Codable, Sendable {
  /// For stdout.
  public var output = ""
  /// What went wrong; nil if nothing.
  public var failure: Failure?
  /// For exit(3), where that is not a failure's.
  public var code: Int32 = 0
  /// Its threads have ended, and the store is closed.
  public var isOrderly = true

  /// An end.
  public init(output: String = "", failure: Failure? = nil, isOrderly: Bool = true) {
    self.output = output
    self.failure = failure
    self.isOrderly = isOrderly
  }
}

/// One end of the line between a guardian and its worker: a datagram is a message.
final class WorkerLine: Sendable {
  private let descriptor: Int32
  /// A summary of 256 channels is a tenth of it.
  private static let longest = 1 << 17

  /// Takes over an end of a socket pair.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// Sends a message. To a process that is gone it says nothing, which is for the caller to notice
  /// elsewhere.
  func send(_ message: some Encodable) {
    guard let data = try? JSONEncoder().encode(message) else { return }
    // The bytes are `data`'s for the whole closure.
    data.withUnsafeBytes { bytes in
      while Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) < 0,
        errno == EINTR
      {}
    }
  }

  /// Sends a message that another will replace soon, unless the other side is behind: those that
  /// matter are to have room.
  func sendIfRead(_ message: some Encodable) {
    var waiting: Int32 = 0
    // SIOCOUTQ: bytes that the other side has not read.
    guard ioctl(descriptor, UInt(TIOCOUTQ), &waiting) == 0, waiting < Self.longest / 2 else {
      return
    }
    send(message)
  }

  /// What became of waiting for a message.
  enum Received<Message> {
    case message(Message)
    /// Nothing has come in time.
    case nothing
    /// The other end is closed.
    case closed
  }

  /// Waits for a message.
  ///
  /// - Parameter milliseconds: at the most; negative: for ever.
  func receive<Message: Decodable>(milliseconds: Int32) -> Received<Message> {
    var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&polled, 1, milliseconds) > 0 else { return .nothing }
    var bytes = [UInt8](repeating: 0, count: Self.longest)
    let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    // A reset comes before what is still to be read: the other end has left a message of ours
    // unread.
    if count < 0, [EAGAIN, EINTR, ECONNRESET].contains(errno) { return .nothing }
    guard count > 0 else { return .closed }
    // What cannot be understood was not sent by us: a backend has written to a descriptor that it
    // does not own.
    guard let message = try? JSONDecoder().decode(Message.self, from: Data(bytes[..<count])) else {
      return .nothing
    }
    return .message(message)
  }
}
