import Glibc

/// Whose files are opened: a library runs with all rights of the host, and so does the program that
/// tries it first, so nobody but root and the host's own user may be able to put one in place.
///
/// Checked after realpath(3), for the file and for the folder that it is in: each is owned by root
/// or the effective user (when privileged: by root) and writable for its owner only. A sticky
/// folder such as /tmp is no exception, since anybody can add a file to it. The folders above are
/// not looked at: the folder is opened once, and what is tried and loaded is what that descriptor
/// leads to.
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

  /// A library that is trusted, by way of its folder's descriptor: the folder was looked at through
  /// it, and nobody but its owner and root can put another file in place.
  final class Library {
    /// After realpath(3): what the library is called.
    let path: String
    /// As it was looked at.
    let identity: Identity
    /// The folder, open, and the file's name in it: what a child gets.
    let folder: Int32
    /// See ``folder``.
    let name: String
    private var isKept = false

    fileprivate init(_ path: String, _ identity: Identity, in folder: Int32, _ name: String) {
      self.path = path
      self.identity = identity
      self.folder = folder
      self.name = name
    }

    deinit { if !isKept { close(folder) } }

    /// What dlopen(3) is given: good as long as this object lives, whatever becomes of the folders
    /// above. `$ORIGIN` is the folder, as with the path.
    var handle: String { "/proc/self/fd/\(folder)/\(name)" }

    /// Whether the file is still what was looked at.
    var isUnchanged: Bool {
      var status = stat()
      return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0
        && Identity(status) == identity
    }

    /// Keeps the handle good for the life of the process: the dynamic linker goes by it, and
    /// another folder must not get the number.
    func keep() { isKept = true }
  }

  /// What is looked at; it is in the hint.
  enum Subject: String {
    case backend = "a backend runs with all rights of the host"
    case probe = "backends are tried with it, with all rights of the host"
  }

  /// A trusted program, open for the one who is to start it, or why it is not trusted.
  static func program(_ path: String, privileged: Bool) throws(PluginError) -> Int32 {
    let file = try file(path, privileged: privileged, .probe)
    let program = openat(file.folder, file.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard program >= 0 else { throw .refused(path, errorText(errno)) }
    var status = stat()
    // What was looked at, and not what its owner has put there meanwhile.
    guard fstat(program, &status) == 0, Identity(status) == file.identity else {
      close(program)
      throw .refused(path, "changed while it was being looked at")
    }
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
    let parent = slash == real.startIndex ? "/" : String(real[..<slash])
    let name = String(real[slash...].dropFirst())
    let folder = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { throw .refused(path, errorText(errno)) }
    var status = stat()
    let failed = fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0
    let library = Library(real, Identity(status), in: folder, name)
    guard !failed else { throw .refused(path, errorText(errno)) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .refused(path, "is not a regular file") }
    try check(status, of: real, as: path, noun: "the file", privileged: privileged, subject)
    guard fstat(folder, &status) == 0 else { throw .refused(path, errorText(errno)) }
    try check(
      status, of: parent, as: path, noun: "its folder \(parent)", privileged: privileged, subject)
    return library
  }

  /// Checks one folder; `path` is what an error is about.
  static func folder(
    _ folder: String, as path: String, privileged: Bool
  ) throws(PluginError) {
    guard let real = resolve(folder) else { throw .refused(path, errorText(errno)) }
    var status = stat()
    guard stat(real, &status) == 0 else { throw .refused(path, errorText(errno)) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .refused(path, "is not a folder") }
    try check(
      status, of: real, as: path, noun: "its folder \(real)", privileged: privileged, .backend)
  }

  private static func check(
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
