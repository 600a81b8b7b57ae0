import Wire

/// What an inspection found in one file.
public struct InspectReport: Codable, Equatable, Sendable {
  /// How a stream ends.
  public enum Ending: String, Codable, Sendable {
    /// Whole: a migration with its end, checkpoints that are all there, a channel that ends between
    /// packets.
    case complete
    /// It ends inside something.
    case truncated
    /// Something in it cannot be.
    case corrupt
    /// It uses a feature that this program refuses; it may be whole.
    case unsupported
  }

  /// The judgement, and where and why it was given.
  public struct Verdict: Codable, Equatable, Sendable, CustomStringConvertible {
    /// The judgement.
    public var ending: Ending
    /// The byte of the file; its size when it is complete.
    public var offset: UInt64
    /// Why, or what deserves mention in a complete stream.
    public var reason: String?

    /// For an error of the format's.
    init(_ error: WireError) {
      ending =
        switch error.code {
        case .truncated: .truncated
        case .unsupported, .limitExceeded: .unsupported
        default: .corrupt
        }
      (offset, reason) = (error.offset, error.message)
    }

    init(ending: Ending, offset: UInt64, reason: String?) {
      (self.ending, self.offset, self.reason) = (ending, offset, reason)
    }

    /// `corrupt at byte 123: why`.
    public var description: String {
      let place = ending == .complete ? "" : " at byte \(offset)"
      return "\(ending.rawValue)\(place)\(reason.map { ": \($0)" } ?? "")"
    }
  }

  /// One RAM block of a main channel.
  public struct Block: Codable, Equatable, Sendable {
    /// QEMU's name.
    public var name: String
    /// Bytes.
    public var length: UInt64
  }

  /// What only a main channel tells.
  public struct Main: Codable, Equatable, Sendable {
    /// The machine type; nil when the source sent no configuration.
    public var machine: String?
    /// Capabilities that the configuration lists.
    public var capabilities: [String] = []
    /// The RAM blocks, in order.
    public var blocks: [Block] = []
    /// `flush` or `per-section`; nil before the first RAM section.
    public var syncMode: String?
    /// Sync points that multifd channels have to reach.
    public var syncPoints: UInt64 = 0
    /// Pages sent as they are.
    public var normal: UInt64 = 0
    /// Pages sent as one byte.
    public var duplicate: UInt64 = 0
    /// Sections of devices in the migration.
    public var devices: UInt64 = 0
    /// Whether the sizes of the VM description were those of the sections; nil without one.
    public var descriptionAgrees: Bool?
    /// Checkpoints that are complete.
    public var checkpoints: UInt64 = 0

    enum CodingKeys: String, CodingKey {
      case machine, capabilities, blocks, normal, duplicate, devices, checkpoints
      case syncMode = "sync-mode"
      case syncPoints = "sync-points"
      case descriptionAgrees = "vm-description-agrees"
    }
  }

  /// What only a multifd channel tells.
  public struct Channel: Codable, Equatable, Sendable {
    /// The channel's number.
    public var id: UInt8
    /// The source's UUID.
    public var uuid: String
    /// RAM packets.
    public var packets: UInt64 = 0
    /// Packets with SYNC.
    public var syncs: UInt64 = 0
    /// Packets by the method of their flags, of those that carry pages.
    public var methods: [String: UInt64] = [:]
    /// Pages with payload.
    public var normal: UInt64 = 0
    /// Pages that are zero.
    public var duplicate: UInt64 = 0
    /// Bytes of payload.
    public var payloadBytes: UInt64 = 0
    /// RAM blocks that were named, with their pages.
    public var blocks: [String: UInt64] = [:]
    /// Device-state packets.
    public var deviceStatePackets: UInt64 = 0

    enum CodingKeys: String, CodingKey {
      case id, uuid, packets, syncs, methods, normal, duplicate, blocks
      case payloadBytes = "payload-bytes"
      case deviceStatePackets = "device-state-packets"
    }
  }

  /// A link's hello or answer, with which a connection begins.
  public struct Link: Codable, Equatable, Sendable {
    /// `hello` or `answer`.
    public var frame: String
    /// The version of who wrote it.
    public var version: String
    /// Of a hello: the session.
    public var session: String?
    /// Of a hello: `main`, or `channel 3`.
    public var role: String?
    /// The formats that are offered, or agreed, in order.
    public var formats: [String]
    /// So many of those that are offered were asked for by name.
    public var required: Int?
    /// What some of those that are offered are encoded with besides.
    public var files: [File]?
    /// Why the other side was refused.
    public var refused: String?

    /// A file that both sides have.
    public struct File: Codable, Equatable, Sendable {
      /// The format, NAME/N.
      public var format: String
      /// The option of its backend.
      public var option: String
      /// Bytes.
      public var size: Int
      /// What it is called where it is looked for: its SHA-256.
      public var name: String
    }
  }

  /// The file as it was named.
  public var file: String
  /// Its bytes.
  public var size: UInt64
  /// How many of each element there are.
  public var elements: [String: UInt64] = [:]
  /// Of a link.
  public var link: Link?
  /// Of a main channel.
  public var main: Main?
  /// Of a multifd channel.
  public var channel: Channel?
  /// The judgement.
  public var verdict: Verdict

  /// What the file is, by its first bytes.
  public var kind: String {
    let channel = main != nil ? "main channel" : channel != nil ? "multifd channel" : nil
    guard let link else { return channel ?? "unknown file" }
    return "link's " + (channel ?? link.frame)
  }

  /// The counts in a line.
  public var summary: String {
    var facts = [inspectCount(size, "byte")]
    func pages(_ normal: UInt64, _ duplicate: UInt64) -> String {
      "pages: \(normal) normal, \(duplicate) duplicate"
    }
    if let main {
      facts += [
        pages(main.normal, main.duplicate), inspectCount(main.devices, "device"),
        inspectCount(main.syncPoints, "sync point") + (main.syncMode.map { " (\($0))" } ?? ""),
      ]
    }
    if let channel {
      facts += [
        inspectCount(channel.packets, "packet"), pages(channel.normal, channel.duplicate),
        inspectCount(channel.payloadBytes, "payload byte"), inspectCount(channel.syncs, "SYNC"),
      ]
    }
    return "\(kind): " + facts.joined(separator: "; ")
  }

  mutating func count(_ element: String, _ number: UInt64 = 1) {
    elements[element, default: 0] += number
  }
}

/// One line of an inspection's story.
public struct InspectLine: Equatable, Sendable, CustomStringConvertible {
  /// The byte of the file where the element begins.
  public var offset: UInt64
  /// 0 for elements of the stream, 1 for what is inside of one.
  public var depth: Int
  /// The element.
  public var what: String
  /// What is to be said about it.
  public var detail: String

  /// The same line of an element that begins so many bytes further on.
  func moved(by count: UInt64) -> InspectLine {
    var line = self
    line.offset += count
    return line
  }

  /// The offset, the element, the detail, in columns.
  public var description: String {
    func pad(_ text: String, to width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }
    let number = String(offset)
    let indent = String(repeating: " ", count: max(0, 12 - number.count)) + number + "  "
    let name = String(repeating: "  ", count: depth) + what
    return detail.isEmpty ? indent + name : indent + pad(name, to: 28) + " " + detail
  }
}
