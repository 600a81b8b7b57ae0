import Glibc

/// Whose files are opened: a library runs with all rights of the host, so nobody but root and the
/// host's own user may be able to put one in place.
///
/// Checked after realpath(3), for the file and for the folder that it is in: each is owned by root or
/// the effective user (when privileged: by root) and writable for its owner only. A sticky folder such
/// as /tmp is no exception, since anybody can add a file to it. The folders above are not looked at:
/// who can rename those already decides what the operator's paths mean.
enum PluginTrust {
  /// What identifies one state of a file: another inode, size or time is another library.
  struct Identity: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let modified: Int64
    let modifiedNanoseconds: Int64
    let changed: Int64
    let changedNanoseconds: Int64
  }

  /// The real path and identity of a trusted library, or why it is not trusted.
  static func file(
    _ path: String, privileged: Bool
  ) throws(PluginError) -> (path: String, identity: Identity) {
    guard let real = resolve(path) else {
      throw .refused(path, errorText(errno))
    }
    let status = try status(of: real, as: path)
    guard status.st_mode & S_IFMT == S_IFREG else { throw .refused(path, "is not a regular file") }
    try check(status, of: real, as: path, noun: "the file", privileged: privileged)
    let slash = real.lastIndex(of: "/") ?? real.startIndex
    let parent = slash == real.startIndex ? "/" : String(real[..<slash])
    try folder(parent, as: path, privileged: privileged)
    return (real, Identity(status))
  }

  /// Checks one folder; `path` is what an error is about.
  static func folder(
    _ folder: String, as path: String, privileged: Bool
  ) throws(PluginError) {
    guard let real = resolve(folder) else { throw .refused(path, errorText(errno)) }
    let status = try status(of: real, as: path)
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .refused(path, "is not a folder") }
    try check(status, of: real, as: path, noun: "its folder \(real)", privileged: privileged)
  }

  /// The identity of a file now; nil when it is gone.
  static func identity(of real: String) -> Identity? {
    var status = stat()
    return stat(real, &status) == 0 ? Identity(status) : nil
  }

  private static func status(of real: String, as path: String) throws(PluginError) -> stat {
    var status = stat()
    guard stat(real, &status) == 0 else { throw .refused(path, errorText(errno)) }
    return status
  }

  private static func check(
    _ status: stat, of real: String, as path: String, noun: String, privileged: Bool
  ) throws(PluginError) {
    let user = geteuid()
    guard status.st_uid == 0 || (status.st_uid == user && !privileged) else {
      let allowed = privileged || user == 0 ? "root" : "root or user \(user)"
      throw .refused(
        path, "\(noun) belongs to user \(status.st_uid), not to \(allowed)",
        hint: "a backend runs with all rights of the host: chown \(real) if you trust it")
    }
    let others = status.st_mode & (S_IWGRP | S_IWOTH)
    guard others == 0 else {
      let who = others & S_IWOTH != 0 ? "everybody" : "group \(status.st_gid)"
      throw .refused(
        path, "\(noun) is writable for \(who)",
        hint: "a backend runs with all rights of the host: chmod go-w \(real) if you trust it")
    }
  }
}

extension PluginTrust.Identity {
  init(_ status: stat) {
    self.init(
      device: UInt64(status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
      modified: Int64(status.st_mtim.tv_sec), modifiedNanoseconds: Int64(status.st_mtim.tv_nsec),
      changed: Int64(status.st_ctim.tv_sec), changedNanoseconds: Int64(status.st_ctim.tv_nsec))
  }
}

/// strerror(3) as a String.
func errorText(_ number: Int32) -> String { String(cString: strerror(number)) }
