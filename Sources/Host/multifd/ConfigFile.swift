import Foundation
import Migration
import System
import TOML

/// The file of `--config`, as it is written.
///
/// Who can write to it decides what this process does, and which commands it starts: so it belongs
/// to root or the effective user, and nobody else may write to it. It is opened once, and what was
/// looked at is what is read. A link is followed, for what it leads to is looked at.
struct ConfigFile {
  let path: String
  /// In the order in which they stand, but ``role``.
  let entries: [TOML.Entry]
  /// Which command it is for.
  let role: TOML.Entry?

  /// More is none of ours.
  private static let mostBytes = 1 << 20

  /// The key of ``role``.
  static let roleKey = "role"

  init(_ path: String) throws(Failure) {
    self.path = path
    let text = try Self.read(path)
    do throws(TOML.Wrong) {
      let toml = try TOML(text)
      if let table = toml.tables.first {
        throw TOML.Wrong(line: table.line, why: "[\(table.name)]: there are no tables in this file")
      }
      role = toml.entries.first { $0.key == Self.roleKey }
      entries = toml.entries.filter { $0.key != Self.roleKey }
    } catch { throw Failure(.usage, "\(path):\(error.line)", error.why) }
  }

  /// What is wrong with an entry, and where that stands.
  func wrong(_ entry: TOML.Entry, _ why: String, hint: String? = nil) -> Failure {
    Failure(.usage, place(entry), "\(entry.key): \(why)", hint: hint)
  }

  /// `FILE:LINE`.
  func place(_ entry: TOML.Entry) -> String { "\(path):\(entry.line)" }

  private static func read(_ path: String) throws(Failure) -> String {
    // Without waiting for whoever would write into a pipe of this name.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
    guard file >= 0 else { throw Failure(.usage, path, SystemError("open").reason) }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else {
      throw Failure(.usage, path, SystemError("fstat").reason)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw Failure(.refused, path, "it is no regular file")
    }
    guard [0, geteuid()].contains(status.st_uid) else {
      throw Failure(
        .refused, path, "it belongs to user \(status.st_uid), not to root or user \(geteuid())",
        hint: "who owns it decides what this process does: chown it if you trust what is in it")
    }
    guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
      throw Failure(
        .refused, path, "it is writable for others than its owner",
        hint: "who writes to it decides what this process does: chmod go-w \(path) if you trust "
          + "what is in it")
    }
    var bytes = Data()
    // One more than it may have, so that one that grows is noticed, too.
    do {
      let handle = FileHandle(fileDescriptor: file, closeOnDealloc: false)
      bytes = try handle.read(upToCount: mostBytes + 1) ?? Data()
    } catch { throw Failure(.usage, path, "it could not be read") }
    guard bytes.count <= mostBytes else {
      throw Failure(.refused, path, "it is longer than 1 MiB: it is none of multifd's")
    }
    guard let text = String(data: bytes, encoding: .utf8) else {
      throw Failure(.usage, "\(path):1", "the file is not UTF-8")
    }
    return text
  }
}
