import Foundation
import Glibc
import Memory
import Migration
import System

/// Starting QEMU processes. ``Child`` ends them.
enum QEMUProcess {
  /// Starts one.
  ///
  /// - Parameters:
  ///   - arguments: program first, looked for in PATH.
  ///   - output: a file for its stdout and stderr; nil: both go to this process's stderr.
  ///   - outlives: in a session of its own, so that what ends this process does not end it.
  ///   - leadsGroup: in a process group of its own, so that it can be ended with its children.
  static func spawn(
    _ arguments: [String], output: Int32? = nil, outlives: Bool, leadsGroup: Bool = false
  ) throws -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The signals that this process waits for are QEMU's to receive.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    // A broken pipe, or a file at its limit, must end a program that does not expect to live on, whatever
    // this process does about it.
    var byDefault = sigset_t()
    sigemptyset(&byDefault)
    sigaddset(&byDefault, SIGPIPE)
    sigaddset(&byDefault, SIGXFSZ)
    posix_spawnattr_setsigdefault(&attributes, &byDefault)
    var flags = Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF)
    // The group 0 stands for a new one.
    if leadsGroup { flags |= Int16(POSIX_SPAWN_SETPGROUP) }
    if outlives { flags |= Int16(0x80) /* POSIX_SPAWN_SETSID */ }
    posix_spawnattr_setflags(&attributes, flags)
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&files, output ?? 2, 1)
    if let output { posix_spawn_file_actions_adddup2(&files, output, 2) }
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    argv.append(nil)
    defer { for pointer in argv { free(pointer) } }
    var pid = pid_t()
    let status = posix_spawnp(&pid, arguments[0], &files, &attributes, argv, environ)
    guard status == 0 else {
      throw Failure(
        .failed, "qemu",
        "cannot start \(arguments[0]): \(SystemError("spawn", errno: status).reason)")
    }
    return pid
  }

  /// A folder for its sockets: short, for the sake of UNIX sockets; private, for the sake of the monitor.
  static func makeFolder() throws -> String {
    var template = Array("/tmp/multifd-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
    return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

/// A folder for a QEMU's sockets, removed with all that is in it when this value goes away.
final class PrivateFolder {
  /// Its path.
  let path: String

  init() throws { path = try QEMUProcess.makeFolder() }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
