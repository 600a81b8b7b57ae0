import Glibc

/// What the first bytes of a file say about whether it can be a library of this machine: what would
/// otherwise take a process to find out, and then be said in the dynamic linker's words.
///
/// Only what is plainly wrong is refused here. What is right in these bytes the child finds out.
struct ELFFile {
  /// For which kind of machine: the members that must be the host's own.
  struct Machine: Equatable, CustomStringConvertible {
    let number: UInt16
    let bits: Int
    let isBigEndian: Bool

    /// What it is called, as uname(1) has it where it is one of the usual ones.
    var description: String {
      switch (number, bits, isBigEndian) {
      case (3, 32, false): "i386"
      case (8, _, true): "mips"
      case (8, _, false): "mipsel"
      case (20, 32, true): "ppc"
      case (21, 64, true): "ppc64"
      case (21, 64, false): "ppc64le"
      case (22, 64, true): "s390x"
      case (40, 32, false): "arm"
      case (62, 64, false): "x86_64"
      case (62, 32, false): "x32"
      case (183, 64, false): "aarch64"
      case (183, 64, true): "aarch64_be"
      case (243, 64, false): "riscv64"
      case (243, 32, false): "riscv32"
      case (258, 64, false): "loongarch64"
      default: "machine \(number) (\(bits) bits, \(isBigEndian ? "big" : "little")-endian)"
      }
    }
  }

  let machine: Machine
  /// e_type: 3 is a library.
  let type: Int
  private let file: Int32
  private let header: [UInt8]

  /// What this very program is for; nil where that cannot be read.
  static let host: Machine? = {
    let program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
    guard program >= 0 else { return nil }
    defer { close(program) }
    return try? ELFFile(program, as: "").machine
  }()

  /// Reads the header of a file that is open.
  ///
  /// - Parameter path: what an error is about.
  init(_ file: Int32, as path: String) throws(PluginError) {
    let header = bytesOf(file, at: 0, count: 64)
    guard !header.isEmpty else { throw .refused(path, "is empty") }
    guard header.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw .refused(path, "is no ELF file, and so no library")
    }
    guard header.count >= 20 else { throw .refused(path, "is cut off within its ELF header") }
    guard (1...2).contains(header[4]), (1...2).contains(header[5]) else {
      throw .refused(path, "has an ELF header that makes no sense")
    }
    let isBigEndian = header[5] == 2
    func half(_ offset: Int) -> UInt16 {
      let value = header.load(offset, as: UInt16.self)
      return isBigEndian ? UInt16(bigEndian: value) : UInt16(littleEndian: value)
    }
    (self.file, self.header) = (file, header)
    machine = Machine(number: half(18), bits: header[4] == 1 ? 32 : 64, isBigEndian: isBigEndian)
    type = Int(half(16))
  }

  /// Refuses what is no library of this host, or not a whole one.
  static func check(_ file: Int32, size: Int64, as path: String) throws(PluginError) {
    let elf = try ELFFile(file, as: path)
    let what =
      switch elf.type {
      case 1: "object file"
      case 2: "program"
      case 3: "library"
      case 4: "core dump"
      default: "file of type \(elf.type)"
      }
    if let host, host != elf.machine {
      throw .refused(path, "is an ELF \(what) for \(elf.machine), this host is \(host)")
    }
    guard elf.type == 3 else { throw .refused(path, "is an ELF \(what), not a library") }
    let end = try elf.end(as: path)
    guard end <= size else {
      throw .refused(path, "is cut off: it has \(size) of at least \(end) bytes")
    }
  }

  /// How long the file is at least, by what it says of its segments. Both kinds of header that this
  /// host can have are those of ELF(5), in its own byte order.
  private func end(as path: String) throws(PluginError) -> Int64 {
    let is64 = machine.bits == 64
    guard header.count >= (is64 ? 64 : 52) else {
      throw .refused(path, "is cut off within its ELF header")
    }
    func word(_ bytes: [UInt8], _ offset: Int) -> Int64 {
      is64
        ? Int64(clamping: bytes.load(offset, as: UInt64.self))
        : Int64(bytes.load(offset, as: UInt32.self))
    }
    let table = word(header, is64 ? 32 : 28)
    let entry = Int(header.load(is64 ? 54 : 42, as: UInt16.self))
    let count = Int(header.load(is64 ? 56 : 44, as: UInt16.self))
    // Other sizes, and more segments than any library has, are the dynamic linker's to refuse.
    guard entry == (is64 ? 56 : 32), count <= 1024 else { return 0 }
    let segments = bytesOf(file, at: table, count: entry * count)
    guard segments.count == entry * count else {
      return Self.sum(table, Int64(entry * count))
    }
    return (0..<count).reduce(into: 0) { end, number in
      let segment = Array(segments[(number * entry)..<((number + 1) * entry)])
      // PT_LOAD, PT_DYNAMIC: what is mapped, and what is read first.
      guard (1...2).contains(segment.load(0, as: UInt32.self)) else { return }
      let start = word(segment, is64 ? 8 : 4), size = word(segment, is64 ? 32 : 16)
      end = max(end, Self.sum(start, size))
    }
  }

  /// Of what is beyond any file, the largest number that there is.
  private static func sum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : sum
  }
}

/// What there is of `count` bytes of a file, from an offset on.
private func bytesOf(_ file: Int32, at offset: Int64, count: Int) -> [UInt8] {
  Array(unsafeUninitializedCapacity: count) { buffer, used in
    // The buffer has room for `count` bytes. One read is enough: a regular file gives what it has.
    used = max(0, pread(file, buffer.baseAddress, count, off_t(offset)))
  }
}
