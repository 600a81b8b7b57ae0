import Foundation

/// A guest without a kernel: 70 bytes of firmware. It fills some memory once, so that there is
/// something to copy, and then counts in the first word of each of its hot pages, one after the
/// other, for ever. Whoever runs it, a KVM that emulates each instruction included, has it going
/// within a second. It says nothing.
public struct BareGuest: Sendable {
  /// Where its hot pages are, in guest memory.
  public static let hot = 0x200_0000..<0x204_0000

  /// Where its firmware is.
  public let firmware: String

  /// Writes its firmware into a folder.
  public init(in folder: TemporaryFolder) throws {
    firmware = folder("bare.bin")
    try Data(Self.rom).write(to: URL(filePath: firmware))
  }

  /// A machine for it.
  ///
  /// - Parameters:
  ///   - accelerator: `tcg` or `kvm`.
  ///   - type: the machine type.
  public func machine(_ accelerator: String, type: String = "q35") -> QEMU.Machine {
    var machine = QEMU.Machine(type: type, fill: 0, workingSet: 0)
    (machine.accelerator, machine.firmware) = (accelerator, firmware)
    return machine
  }

  /// How far it has counted; it may be counting.
  public static func count(in qemu: some GuestHost) throws -> Int {
    let said = try qemu.qmp.execute(
      "human-monitor-command", ["command-line": .string("xp /1xw \(hot.lowerBound)")])
    let words = (said.string ?? "").split { " \r\n".contains($0) }
    guard let count = words.last.flatMap({ Int($0.dropFirst(2), radix: 16) }) else {
      throw LabError("no count in \(said.text)")
    }
    return count
  }

  /// Waits until it has counted on from `count`, and gives how far.
  @discardableResult
  public static func wait(in qemu: some GuestHost, beyond count: Int) throws -> Int {
    let deadline = ContinuousClock.now + .seconds(30)
    while true {
      let now = try self.count(in: qemu)
      if now > count { return now }
      guard ContinuousClock.now < deadline else { throw LabError("the guest stays at \(now)") }
      Thread.sleep(forTimeInterval: 0.01)
    }
  }

  /// Why there are no guests under KVM here; nil when there are.
  public static let kvmUnavailable: SkipReason? = {
    let device = open("/dev/kvm", O_RDWR | O_CLOEXEC)
    guard device >= 0 else {
      return SkipReason("/dev/kvm: \(String(cString: strerror(errno)))")
    }
    defer { close(device) }
    // KVM_CREATE_VM, of the default type.
    let machine = ioctl(device, 0xae01, 0)
    guard machine >= 0 else {
      return SkipReason("KVM_CREATE_VM: \(String(cString: strerror(errno)))")
    }
    close(machine)
    return nil
  }()

  /// 64 KiB that end at 4 GiB, and are at 0xf0000 too.
  private static var rom: [UInt8] {
    var rom = [UInt8](repeating: 0, count: 1 << 16)
    func put(_ offset: Int, _ bytes: [UInt8]) {
      rom.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    put(
      0x00,
      [
        0xfa,  //                                       cli
        0x2e, 0x66, 0x0f, 0x01, 0x16, 0x78, 0x00,  //   lgdtl %cs:0x78
        0x0f, 0x20, 0xc0,  //                           movl  %cr0, %eax
        0x0c, 0x01,  //                                 orb   $1, %al
        0x0f, 0x22, 0xc0,  //                           movl  %eax, %cr0
        0x66, 0xea, 0x18, 0x00, 0x0f, 0x00, 0x08, 0,  //ljmpl $8, $0xf0018
        // 0x18, 32 bits from here on.
        0xb8, 0x10, 0x00, 0x00, 0x00,  //               movl  $16, %eax
        0x8e, 0xd8,  //                                 movl  %eax, %ds
        0xbe, 0x00, 0x00, 0x00, 0x01,  //               movl  $0x1000000, %esi
        0x89, 0x76, 0x04,  //                        1: movl  %esi, 4(%esi)
        0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,  //         addl  $4096, %esi
        0x81, 0xfe, 0x00, 0x00, 0x80, 0x07,  //         cmpl  $0x7800000, %esi
        0x72, 0xef,  //                                 jb    1b
        0xbe, 0x00, 0x00, 0x00, 0x02,  //            2: movl  $0x2000000, %esi
        0xff, 0x06,  //                              3: incl  (%esi)
        0x81, 0xc6, 0x00, 0x10, 0x00, 0x00,  //         addl  $4096, %esi
        0x81, 0xfe, 0x00, 0x00, 0x04, 0x02,  //         cmpl  $0x2040000, %esi
        0x72, 0xf0,  //                                 jb    3b
        0xeb, 0xe9,  //                                 jmp   2b
      ])
    // Segments: none; code and data, flat. And what lgdt takes: length less one, address.
    put(0x68, [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0])
    put(0x70, [0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0])
    put(0x78, [23, 0, 0x60, 0x00, 0x0f, 0x00])
    // Where a processor begins: ljmp $0xf000, $0.
    put(0xfff0, [0xea, 0x00, 0x00, 0x00, 0xf0])
    return rom
  }
}
