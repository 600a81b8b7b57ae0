import Glibc

/// Whose files are opened: a library runs with all rights of the host, and so does the program that
/// tries it first, so nobody but root and the host's own user may be able to put one in place.
///
/// Checked after realpath(3), on descriptors: the file, and every folder from the root down to it
/// (``TrustedFolder``). What is tried and loaded is what the last folder's descriptor leads to.
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

  /// A library that is trusted, by way of its folder's descriptor: nobody but the folder's owner
  /// and root can put another file in its place.
  final class Library {
    /// After realpath(3): what the library is called.
    let path: String
    /// As it was looked at.
    let identity: Identity
    /// The file, open for reading; good as long as this object lives.
    let file: Int32
    /// Its name in its folder.
    let name: String
    private let place: TrustedFolder

    fileprivate init(
      _ path: String, _ identity: Identity, file: Int32, in place: TrustedFolder, _ name: String
    ) {
      self.path = path
      self.identity = identity
      self.file = file
      self.place = place
      self.name = name
    }

    deinit { close(file) }

    /// The folder, open: what a child gets, with ``name``.
    var folder: Int32 { place.descriptor }

    /// What dlopen(3) is given: good as long as this object lives, whatever becomes of the folders
    /// above. `$ORIGIN` is the folder, as with the path.
    var handle: String { "/proc/self/fd/\(folder)/\(name)" }

    /// Whether the file is still what was looked at.
    var isUnchanged: Bool {
      var status = stat()
      return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0
        && Identity(status) == identity
    }

    /// Keeps the handle good for the life of the process: the dynamic linker goes by it.
    func keep() { place.keep() }
  }

  /// What is looked at; it is in the hint.
  enum Subject: String {
    case backend = "a backend runs with all rights of the host"
    case probe = "backends are tried with it, with all rights of the host"
  }

  /// A trusted program, open for the one who is to start it, or why it is not trusted.
  static func program(_ path: String, privileged: Bool) throws(PluginError) -> Int32 {
    let file = try file(path, privileged: privileged, .probe)
    // A number of its own, for the other one ends with the object.
    let program = withExtendedLifetime(file) { fcntl($0.file, F_DUPFD_CLOEXEC, 0) }
    guard program >= 0 else { throw .refused(path, errorText(errno)) }
    return program
  }

  /// A trusted library, or why it is not trusted. All that is checked is checked on descriptors.
  static func file(
    _ path: String, privileged: Bool, _ subject: Subject = .backend
  ) throws(PluginError) -> Library {
    guard let real = resolve(path) else {
      throw .refused(path, errorText(errno))
    }
    let slash = real.lastIndex(of: "/") ?? real.startIndex
    let name = String(real[slash...].dropFirst())
    let folder = try TrustedFolder(
      String(real[..<slash]), as: path, privileged: privileged, subject)
    var status = stat()
    // Looked at before it is opened: to open a pipe or a device may do something.
    guard fstatat(folder.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
      throw .refused(path, errorText(errno))
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .refused(path, "is not a regular file") }
    let seen = Identity(status)
    let file = openat(
      folder.descriptor, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard file >= 0 else { throw .refused(path, errorText(errno)) }
    let library = Library(real, seen, file: file, in: folder, name)
    guard fstat(file, &status) == 0, Identity(status) == seen else {
      throw .refused(path, "changed while it was being looked at")
    }
    try check(status, of: real, as: path, noun: "the file", privileged: privileged, subject)
    return library
  }

  /// Checks one folder; `path` is what an error is about.
  static func folder(
    _ folder: String, as path: String, privileged: Bool
  ) throws(PluginError) {
    guard let real = resolve(folder) else { throw .refused(path, errorText(errno)) }
    _ = try TrustedFolder(real, as: path, privileged: privileged, .backend)
  }

  /// Checks owner and mode of one thing: `noun` is what it is called in an error about `path`.
  static func check(
    _ status: stat, of real: String, as path: String, noun: String, privileged: Bool,
    _ subject: Subject
  ) throws(PluginError) {
    let user = geteuid()
    guard status.st_uid == 0 || (status.st_uid == user && !privileged) else {
      let allowed = privileged || user == 0 ? "root" : "root or user \(user)"
      throw .refused(
        path, "\(noun) belongs to user \(status.st_uid), not to \(allowed)",
        hint: "\(subject.rawValue): chown \(real) if you trust it")
    }
    let others = status.st_mode & (S_IWGRP | S_IWOTH)
    guard others == 0 else {
      let who = others & S_IWOTH != 0 ? "everybody" : "group \(status.st_gid)"
      throw .refused(
        path, "\(noun) is writable for \(who)",
        hint: "\(subject.rawValue): chmod go-w \(real) if you trust it")
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
