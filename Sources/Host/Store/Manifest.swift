import Foundation
import Wire

/// What a store says about the guest that it holds: `manifest.json`, replaced only as a whole.
public struct Manifest: Codable, Equatable, Sendable {
  /// Where a standby keeps the pages of checkpoints in flight.
  public enum Cache: String, Codable, Sendable, CaseIterable {
    /// Only those pages, given back after the copy.
    case sparse
    /// A second copy of RAM, as a stock secondary has it.
    case mirror
  }

  /// One RAM block.
  public struct Block: Codable, Equatable, Sendable {
    /// As in the stream.
    public var name: String
    /// Bytes.
    public var length: UInt64
    /// Path below the store.
    public var file: String

    /// A block of `length` bytes.
    public init(name: String, length: UInt64) {
      self.name = name
      self.length = length
      file = "ram/" + Self.escaped(name)
    }

    /// A name as a file name: no `/`, no leading dot, no control bytes.
    static func escaped(_ name: String) -> String {
      var text = ""
      for byte in name.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
          UInt8(ascii: "@"), UInt8(ascii: ":"):
          text.unicodeScalars.append(Unicode.Scalar(byte))
        case UInt8(ascii: ".") where !text.isEmpty: text += "."
        default: text += String(format: "%%%02X", Int(byte))
        }
      }
      return text
    }
  }

  /// A disk of the guest, which a standby keeps together with its memory.
  public struct Disk: Codable, Equatable, Sendable {
    /// The name of its export.
    public var name: String
    /// The image's real path.
    public var image: String
    /// The folder of what has been written since, see ``DiskFolder``.
    public var folder: String
    /// The protection that both belong to, as in the folder's `state`.
    public var session: String
    /// The last epoch that belongs to the end of precopy.
    public var epoch: Int

    /// A disk of a protection.
    public init(name: String, image: String, folder: String, session: String, epoch: Int) {
      (self.name, self.image, self.folder) = (name, image, folder)
      (self.session, self.epoch) = (session, epoch)
    }

    /// Whether a text can be the name of a disk: as QEMU's node names, letters, digits and `-._`,
    /// at most 64.
    public static func isName(_ text: String) -> Bool {
      (1...64).contains(text.utf8.count)
        && text.utf8.allSatisfy { byte in
          switch byte {
          case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
          default: false
          }
        }
    }
  }

  /// The layout of the store. This program reads 1.
  public var format = 1
  /// Where the guest is.
  public var state: State
  /// Machine type, such as `pc-q35-10.0`.
  public var machine: String
  /// log2 of the target page size, if the source said so.
  public var pageBits: UInt32?
  /// The source's `-uuid`, as its multifd channels or its configuration said.
  public var uuid: String?
  /// Whether the configuration element carried the UUID (capability validate-uuid).
  public var validateUUID = false
  /// Bytes of one target page.
  public var pageSize: Int
  /// Section id and instance of `ram` in the source's stream.
  public var ramSection: UInt32
  /// Sync points: "flush" or "section", if the source used multifd.
  public var sync: String?
  /// The cache of a standby.
  public var cache: Cache?
  /// Of a standby: the start of the machine's kernel, which names each of its own. Checkpoints are
  /// not forced to disk: a store that outlives the machine may be torn.
  public var boot: String?
  /// Of a standby: the guest's disks that it keeps.
  public var disks: [Disk]?
  /// RAM blocks in stream order.
  public var blocks: [Block]
  /// Bytes of sections that came before the RAM's pages, in `early-state`.
  public var earlyStateSize: UInt64 = 0
  /// Bytes of device state up to the EOF byte, which is included, in `device-state`.
  public var deviceStateSize: UInt64 = 0
  /// Bytes of the VM description element, in `vm-description`; 0 if there was none.
  public var vmDescriptionSize: UInt64 = 0
  /// When the guest was held, ISO 8601.
  public var heldAt: String?
  /// Who has taken the guest over, and when.
  public var handedOverTo: String?
  /// Whether a failover has: then the RAM files are, or were, a running QEMU's memory, and newer
  /// than the devices' state here.
  public var failedOver: Bool?

  /// Of a standby: why its guest is not to be gone on with. It has ended by itself, its protection
  /// was ended, or it was let go on without this: what is here is from before.
  public var ended: String?
  /// Of one that has ``ended``: it has not, but goes on alone at its primary.
  public var goesOn: Bool?

  /// The machine has been started again since a standby wrote this.
  public var isFromBeforeBoot: Bool { state == .standby && boot != nil && boot != Self.thisBoot }

  /// This start of the kernel; nil where it does not say.
  public static let thisBoot: String? = {
    let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
    return text?.trimmingCharacters(in: .whitespacesAndNewlines)
  }()

  /// A manifest of a guest that is being received.
  public init(
    state: State, machine: String, pageSize: Int, ramSection: UInt32, blocks: [Block]
  ) {
    self.state = state
    self.machine = machine
    self.pageSize = pageSize
    self.ramSection = ramSection
    self.blocks = blocks
  }

  /// What of it cannot be true, or cannot be sent as a stream; nil if nothing. A manifest is a file
  /// that anybody could have edited or damaged: sizes and paths are used only after this.
  var contradiction: String? {
    guard (1024...1 << 19).contains(pageSize), pageSize & (pageSize - 1) == 0 else {
      return "pages of \(pageSize) bytes"
    }
    guard (1...1024).contains(machine.utf8.count) else { return "no machine type" }
    guard !blocks.isEmpty else { return "no RAM blocks" }
    var (names, files) = (Set<String>(), Set<String>())
    var total: UInt64 = 0
    for block in blocks {
      let (sum, over) = total.addingReportingOverflow(block.length)
      total = sum
      guard !over, total <= UInt64(Int.max), block.length > 0,
        block.length % UInt64(pageSize) == 0
      else { return "RAM block '\(block.name)' of \(block.length) bytes" }
      guard (1...255).contains(block.name.utf8.count), names.insert(block.name).inserted else {
        return "a RAM block named '\(block.name)'"
      }
      let file = block.file.split(separator: "/", omittingEmptySubsequences: false)
      guard file.count == 2, file[0] == "ram", !["", ".", ".."].contains(file[1]),
        files.insert(block.file).inserted
      else { return "RAM block '\(block.name)' in the file \(block.file)" }
    }
    var disks = Set<String>()
    for disk in self.disks ?? [] {
      guard Disk.isName(disk.name), disks.insert(disk.name).inserted, disk.epoch >= 0,
        disk.image.hasPrefix("/"), disk.folder.hasPrefix("/")
      else { return "a disk named '\(disk.name)' in \(disk.image)" }
    }
    return nil
  }

  /// Total bytes of RAM.
  public var ramSize: UInt64 { blocks.reduce(0) { $0 &+ $1.length } }
}
