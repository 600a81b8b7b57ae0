import Foundation
import Glibc
import System

/// A folder for a QEMU's sockets, removed with all that is in it when this value goes away: short,
/// for the sake of UNIX sockets; private, for the sake of the monitor.
final class PrivateFolder: Sendable {
  /// Its path.
  let path: String

  init() throws(SystemError) {
    var template = Array("/tmp/multifd-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
