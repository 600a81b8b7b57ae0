import Glibc

/// One payload, given to a backend to see what it makes of it.
public enum Decoding {
  /// What to decode.
  public struct Request: Sendable, Equatable {
    /// A case or a recording of this harness, or the bytes of one payload.
    public var path: String
    /// How many pages a payload is for, where the file does not say it.
    public var pages: Int

    /// The payload in the file at `path`, of `pages` pages of the backend's usual size.
    public init(path: String, pages: Int) {
      self.path = path
      self.pages = pages
    }
  }

  /// What came of it.
  public struct Outcome: Sendable {
    /// A line for each packet.
    public let lines: [String]
    /// Rules that were broken on the way, a crash too.
    public let breaches: [String]
    /// Everything decoded, and nothing was broken.
    public let isGood: Bool
  }

  static let refused = "decode.refused"

  /// In a child, as all that a backend does.
  @Sendable static func perform(_ context: Context) throws(Stop) {
    let library = try context.library
    guard let request = context.order.decode, let bytes = readFile(request.path) else {
      context.fail("the file cannot be read")
      throw .failed
    }
    var recording: Recording
    if let known = Recording(bytes) {
      recording = known
    } else {
      recording = Recording(
        library, Shape(pageSize: library.pageSize, pageCount: request.pages),
        options: context.order.options)
      let offsets = (0..<request.pages).map { UInt64($0 * library.pageSize) }
      recording.entries = [Recording.Entry(offsets: offsets, payload: bytes)]
    }
    try context.require(
      library.supports(recording.pageSize, recording.pageCount),
      "packets of \(recording.shape.text) are not supported")
    let receiver = try ReceiveDriver(context, recording.shape, options: recording.options)
    try context.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
    let all = Set(recording.entries.flatMap(\.offsets)).sorted()
    let target = Block(pageSize: recording.pageSize, offsets: all, kind: .target)
    for (number, entry) in recording.entries.enumerated() {
      target.poison()
      let status = receiver.receive(entry.payload, target, entry.offsets)
      let written = entry.offsets.indices.filter { !target.isPoisoned(entry.offsets[$0]) }
      context.reporter.say(
        .text(
          "packet \(number + 1), \(entry.payload.count) bytes for \(entry.offsets.count) pages: "
            + "\(status); written: \(ranges(written, of: entry.offsets.count))"))
      if !status.isOK {
        context.measure(refused, 1, "")
        return
      }
    }
  }

  /// `none`, `all`, or `pages 1-3, 7` of a packet, counting from 1.
  static func ranges(_ indices: [Int], of count: Int) -> String {
    if indices.isEmpty { return "no page" }
    if indices.count == count { return count == 1 ? "the page" : "all pages" }
    var runs: [ClosedRange<Int>] = []
    for index in indices {
      if let last = runs.last, last.upperBound == index - 1 {
        runs[runs.count - 1] = last.lowerBound...index
      } else {
        runs.append(index...index)
      }
    }
    let texts = runs.map {
      $0.count == 1 ? "\($0.lowerBound + 1)" : "\($0.lowerBound + 1)-\($0.upperBound + 1)"
    }
    return (indices.count == 1 ? "page " : "pages ") + texts.joined(separator: ", ")
  }
}
