import Foundation
import Glibc
import System

/// A folder for a QEMU's sockets, removed with all that is in it when this value goes away: short,
/// for the sake of UNIX sockets; private, for the sake of the monitor.
final class PrivateFolder: Sendable {
  /// Its path.
  let path: String

  /// - Parameters:
  ///   - base: where it is made.
  ///   - user: who else is to make sockets in it: a QEMU that runs already, and as somebody else.
  init(in base: String = "/tmp", for user: UInt32? = nil) throws(SystemError) {
    var template = Array("\(base)/multifd-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp in \(base)") }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    guard let user, user != geteuid() else { return }
    guard chown(path, user, gid_t.max) == 0 else { throw SystemError("chown") }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
