import Glibc
import Memory
import Migration
import System

/// The file that a QEMU's stdout and stderr go to: whoever waits for the end of our own output must
/// not wait for QEMU's end, and what it said is there when nobody has watched.
///
/// A store may be in a folder where others write, so the file is ours alone, or it is not used: no
/// link is followed, and one that another name or another user has is refused.
final class QEMULog: Sendable {
  /// Where it is.
  let path: String
  /// For the child. Open as long as this object lives.
  let descriptor: Int32
  /// What earlier QEMUs have written ends here.
  private let start: Int

  /// Opens the file, or makes it; what is written is appended.
  init(path: String) throws(Failure) {
    let descriptor = open(
      path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      let why = errno == ELOOP ? "it is a link" : SystemError("open").reason
      throw Self.refusal(path, why)
    }
    var status = stat()
    var why: String?
    if fstat(descriptor, &status) != 0 {
      why = SystemError("fstat").reason
    } else if status.st_mode & S_IFMT != S_IFREG {
      why = "it is no plain file"
    } else if status.st_uid != geteuid() {
      why = "it belongs to another user"
    } else if status.st_nlink != 1 {
      why = "it has another name"
    } else if status.st_mode & 0o022 != 0 {
      why = "others may write to it (chmod go-w \(path))"
    } else if status.st_mode & 0o077 != 0, fchmod(descriptor, 0o600) != 0 {
      why = SystemError("fchmod").reason
    }
    if let why {
      close(descriptor)
      throw Self.refusal(path, why)
    }
    self.path = path
    self.descriptor = descriptor
    start = Int(status.st_size)
  }

  deinit { close(descriptor) }

  private static func refusal(_ path: String, _ why: String) -> Failure {
    Failure(
      .refused, "qemu", "its log \(path) cannot be used: \(why)",
      hint: "remove it, or give another with --qemu-log")
  }

  /// What QEMU has said last, in one line without its own name; nil if it has said nothing.
  var lastWords: String? {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    let size = Int(status.st_size)
    // Somebody may have cut the file meanwhile.
    let from = max(min(start, size), size - 4096)
    var bytes = [UInt8](repeating: 0, count: size - from)
    let count = pread(descriptor, &bytes, bytes.count, off_t(from))
    guard count > 0 else { return nil }
    // It is a guest's and an operator's text: nothing of it may steer a terminal.
    let lines = bytes[..<count].split(separator: UInt8(ascii: "\n")).map { line in
      String(decoding: line, as: UTF8.self).filter { !$0.isASCII || (" "..."~").contains($0) }
    }
    .filter { !$0.isEmpty && !$0.contains("warning: ") }
    guard !lines.isEmpty else { return nil }
    return lines.suffix(3).map { String($0.withoutProgram.prefix(200)) }.joined(separator: "; ")
  }
}

extension String {
  /// Without the `qemu-system-x86_64: ` that each of QEMU's messages begins with.
  fileprivate var withoutProgram: String {
    guard let colon = firstIndex(of: ":"), self[..<colon].contains("qemu"),
      self[index(after: colon)...].hasPrefix(" ")
    else { return self }
    return String(self[index(colon, offsetBy: 2)...])
  }
}
