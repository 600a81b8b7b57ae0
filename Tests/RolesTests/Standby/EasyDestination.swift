import Foundation
import TestSupport

/// A destination that takes everything for granted.
enum EasyDestination {
  /// Runs `multifd send` from a store.
  ///
  /// - Returns: the main channel that it sent; there were no others.
  static func receive(from store: String) throws -> [UInt8] {
    let (listener, port) = try Sockets.listen()
    defer { close(listener) }
    let send = try MultiFDProcess([
      "send", "--store", store, "--to", "tcp:127.0.0.1:\(port)", "--channels", "0",
    ])
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 20_000) == 1 else {
      throw LabError("multifd send does not connect: \(send.process.errors.text)")
    }
    let socket = Sockets.accept(listener)
    defer { close(socket) }
    // PONG 1 and 3: it has taken all before those PINGs.
    Sockets.write(socket, [0, 2, 0, 4, 0, 0, 0, 1] + [0, 2, 0, 4, 0, 0, 0, 3])
    var stream: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    while case let count = Sockets.read(socket, &buffer), count > 0 { stream += buffer[..<count] }
    // SHUT 0: taken.
    Sockets.write(socket, [0, 1, 0, 4, 0, 0, 0, 0])
    let result = try send.wait()
    guard result.code == 0 else { throw LabError("\(result)") }
    return stream
  }
}
