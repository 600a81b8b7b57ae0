import Glibc
import Memory
import System

/// Whose folders and files are used: a store holds a guest's memory, and whoever can put a link
/// into it decides which file that is written over. So a store's folder, the folders in it and its
/// files belong to the effective user (root's to root) and are writable for nobody else; no link is
/// followed to them, and no file has a second name. Checked on the open descriptor, so that what
/// was checked is what is used.
///
/// The folders above are not looked at: who can rename those already decides what the operator's
/// paths mean.
enum StoreTrust {
  /// What a descriptor should be.
  enum Form {
    case folder, file
  }

  /// Checks what is open.
  ///
  /// - Parameter ofAnybody: may be somebody else's: to look at, not to use.
  /// - Returns: its status.
  @discardableResult
  static func check(
    _ descriptor: Int32, _ form: Form, as path: String, ofAnybody: Bool = false
  ) throws(StoreError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw StoreError(.system, "\(path): \(SystemError("fstat"))")
    }
    switch form {
    case .folder:
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw StoreError(.untrusted, "\(path) is no folder")
      }
    case .file:
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw StoreError(.untrusted, "\(path) is not a regular file")
      }
    }
    if !ofAnybody { try checkOwner(status, form, as: path) }
    return status
  }

  private static func checkOwner(
    _ status: stat, _ form: Form, as path: String
  ) throws(StoreError) {
    guard form == .folder || status.st_nlink <= 1 else {
      throw StoreError(
        .untrusted, "\(path) has \(status.st_nlink) names (hard links)",
        hint: "its other name may be a file that nobody wants overwritten: copy it instead")
    }
    let user = geteuid()
    guard status.st_uid == user else {
      throw StoreError(
        .untrusted, "\(path) belongs to user \(status.st_uid), not to user \(user)",
        hint: "who owns a store decides what this process writes: run this as user "
          + "\(status.st_uid), or chown it if you trust what is in it")
    }
    let others = status.st_mode & (S_IWGRP | S_IWOTH)
    guard others == 0 else {
      let who = others & S_IWOTH != 0 ? "everybody" : "group \(status.st_gid)"
      // A sticky one, such as /tmp, is meant to be everybody's.
      let help =
        status.st_mode & S_ISVTX != 0
        ? "give a folder of your own in it" : "chmod go-w \(path) if you trust what is in it"
      throw StoreError(
        .untrusted, "\(path) is writable for \(who)",
        hint: "who writes to a store decides what this process writes: \(help)")
    }
  }
}
