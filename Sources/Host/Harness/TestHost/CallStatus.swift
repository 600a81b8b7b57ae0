import PluginAPI

/// How a callback ended, after it has been held to the rules for that.
enum CallStatus: Equatable, CustomStringConvertible {
  case ok
  case failed(Int32, String)
  /// What came with an OK breaks a rule, under which it has been reported.
  case breach

  var isOK: Bool { self == .ok }

  var description: String {
    switch self {
    case .ok: "OK"
    case .failed(let status, let text):
      Self.name(status) + (text.isEmpty ? "" : " (\(clean(text)))")
    case .breach: "something that breaks a rule"
    }
  }

  static func name(_ status: Int32) -> String {
    switch status {
    case MULTIFD_ERROR_CORRUPT: "CORRUPT"
    case MULTIFD_ERROR_CHANNEL: "CHANNEL"
    case MULTIFD_ERROR_NO_MEMORY: "NO_MEMORY"
    case MULTIFD_ERROR_OPTION: "OPTION"
    case MULTIFD_ERROR_UNSUPPORTED: "UNSUPPORTED"
    case MULTIFD_ERROR_INTERNAL: "INTERNAL"
    default: "status \(status)"
    }
  }

  /// Judges what a callback returned: a status that the header knows and that fits, and a reason.
  init(_ status: Int32, of callback: String, _ host: TestHost, _ context: Context) {
    guard status != MULTIFD_OK else {
      if host.hasFailedService {
        context.fail(
          "\(callback)() returns OK although a read has failed", as: "faults/read-fails")
      }
      if let text = host.errors.last {
        context.fail(
          "\(callback)() returns OK and says '\(clean(text))' by error()", as: "hostile/reason")
      }
      self = .ok
      return
    }
    if host.errors.count > 1 {
      context.fail(
        "\(callback)() calls error() \(host.errors.count) times for one failure",
        as: "hostile/reason")
    }
    let name = Self.name(status)
    func odd(_ why: String) {
      context.fail("\(callback)() returns \(name)\(why)", as: "hostile/status")
    }
    switch status {
    case MULTIFD_ERROR_CHANNEL where !host.hasFailedService && !host.hasBeenMisused:
      odd(" although no service has failed")
    case MULTIFD_ERROR_OPTION where !callback.hasSuffix("setup"),
      MULTIFD_ERROR_UNSUPPORTED where !callback.hasSuffix("setup"):
      odd(", which only setup may")
    case MULTIFD_ERROR_CORRUPT where !callback.hasPrefix("recv") || callback.hasSuffix("setup"):
      odd(", but there is no payload")
    case MULTIFD_ERROR_INTERNAL...MULTIFD_ERROR_CORRUPT: break
    default: if !host.hasFailedService { odd(", which the header does not know") }
    }
    let text = host.errors.last
    if status != MULTIFD_ERROR_CHANNEL, !host.hasFailedService {
      if text == nil || text == "" {
        context.fail("\(callback)() returns \(name) and gives no reason", as: "hostile/reason")
      }
    } else if let text, status == MULTIFD_ERROR_CHANNEL {
      context.fail(
        "\(callback)() adds '\(clean(text))' to an error of the host's", as: "hostile/reason")
    }
    if let text, text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) {
      context.fail(
        "\(callback)() gives a reason that is not one line: '\(clean(text))'", as: "hostile/reason")
    }
    self = .failed(status, text ?? "")
  }
}

extension Context {
  /// Goes on only after OK; what else there was is reported, once.
  func demand(
    _ status: CallStatus, as owner: String? = nil, _ what: @autoclosure () -> String
  ) throws(Stop) {
    switch status {
    case .ok: return
    case .breach: throw .failed
    case .failed: try require(false, as: owner, "\(what()) returns \(status)")
    }
  }
}

/// The sizes of a channel, and which it is.
struct Shape: Sendable {
  var pageSize = 4096
  var pageCount = 128
  var id = 0
  var channels = 1
  var memory = ChannelMemory.Kind.guarded
  /// Bytes that the host's structs are longer than today's.
  var extra = 0
  /// Bytes between the end of params and the page that nobody may touch.
  var behind = 0
  /// What fresh memory of alloc() is full of.
  var filling = Filling.byte
  /// Flags of the packets' headers besides those of the method.
  var flags: UInt32 = 0

  init(_ library: Library, pages: Int = 128) {
    pageSize = library.pageSize
    pageCount = min(pages, max(1, (pages * 4096) / pageSize))
  }

  init(pageSize: Int, pageCount: Int) {
    self.pageSize = pageSize
    self.pageCount = pageCount
  }

  func channel(_ id: Int, of channels: Int) -> Shape {
    var shape = self
    shape.id = id
    shape.channels = channels
    return shape
  }

  func filled(with byte: UInt8) -> Shape {
    var shape = self
    shape.filling = byte
    return shape
  }

  func plain() -> Shape {
    var shape = self
    shape.memory = .plain
    return shape
  }

  var text: String { "\(pageCount) pages of \(pageSize)" }
}
