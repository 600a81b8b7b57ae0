// Inspect: recorded streams, told and judged.

import Foundation
import Migration
import PluginLoader
import Wire

/// Tells a recorded stream element by element, and judges it.
///
/// The file is what went over one connection in one direction, from its first byte. Whether it is a
/// main or a multifd channel, or one of them behind a link's hello, or what came back behind a
/// link's answer, is told by its magic.
///
/// ```swift
/// let report = try Inspector(path: "conn0.c2s").run { print($0) }
/// print(report.verdict)
/// ```
public struct Inspector: Sendable {
  /// How the payloads of a channel are decoded: by which backends, and where the pages go.
  public struct Decoding {
    /// The backends.
    public var backends: any PacketBackends
    /// Gets the pages; what it throws makes the channel corrupt there.
    public var pages: any PageDestination
    /// Told once why no backend can be opened for the channel's method: then nothing is decoded.
    public var onMissing: (any Error) -> Void

    /// A way to decode.
    public init(
      _ backends: any PacketBackends, into pages: any PageDestination,
      onMissing: @escaping (any Error) -> Void
    ) {
      (self.backends, self.pages, self.onMissing) = (backends, pages, onMissing)
    }
  }

  /// The file.
  public var path: String
  /// Each record and packet gets a line; otherwise runs of them are summed up.
  public var isVerbose = false
  /// What is believed of a stream.
  public var limits = StreamDecoder.Limits()
  /// Bytes of payload that a packet may have.
  public var maxPayload = 1 << 20
  /// How a channel's payloads are decoded, in its dialect. Nil looks at none.
  public var decoding: (@Sendable (PacketDialect) throws -> Decoding)?
  /// What the two sides of a link have agreed on, as the answer to its main hello says: for its
  /// channels. Nil where that is not known.
  public var formats: LinkFormats?
  /// What they are encoded with besides, as the main hello says.
  public var files: [InspectReport.Link.File] = []

  /// Decodes every payload with the backend for its method, into pages that nobody keeps: what a
  /// receiver would find wrong shows here.
  ///
  /// - Parameter onMissing: told once a channel why no backend can be opened for its method.
  public mutating func checkPayloads(
    _ loader: PluginLoader, onMissing: @escaping @Sendable (any Error) -> Void
  ) {
    let pageSize = limits.pageSize
    let (areKnown, files) = (formats != nil, files)
    decoding = { dialect in
      let backends: any PacketBackends =
        if case .link(let formats) = dialect {
          RecordedBackends(formats: areKnown ? formats : nil, files: files, loader: loader)
        } else { try BackendChoice(loader, nil) }
      return Decoding(
        backends, into: ScratchPages(pageSize: pageSize), onMissing: onMissing)
    }
  }

  /// An inspection of the file at `path`.
  public init(path: String) { self.path = path }

  /// Reads the file and gives a line for each element, in order.
  ///
  /// - Returns: the judgement with counts. A stream that is wrong is no error.
  /// - Throws: `InspectFileError` for a file that cannot be read.
  public func run(_ line: (InspectLine) -> Void) throws -> InspectReport {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw InspectFileError(path: path, code: errno) }
    var status = stat()
    let isKnown = fstat(file, &status) == 0
    close(file)
    guard isKnown, status.st_mode & S_IFMT == S_IFREG else {
      throw InspectFileError(path: path, code: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL)
    }
    let data = try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
    // The pointer is used while `data` lives, in this closure only.
    return data.withUnsafeBytes { inspect($0, line) }
  }

  /// The same for bytes that are in memory.
  public func inspect(
    _ bytes: UnsafeRawBufferPointer, _ line: (InspectLine) -> Void
  ) -> InspectReport {
    if bytes.starts(with: Array("MFDL".utf8)) { return inspectLink(bytes, line) }
    return inspect(bytes, as: .qemu, line)
  }

  /// What is behind a link's hello, or what a QEMU has sent.
  func inspect(
    _ bytes: UnsafeRawBufferPointer, as dialect: PacketDialect, _ line: (InspectLine) -> Void
  ) -> InspectReport {
    let isChannel = bytes.starts(with: [0x11, 0x22, 0x33, 0x44])
    let verdict = InspectReport.Verdict(
      ending: .complete, offset: UInt64(bytes.count), reason: nil)
    var report = InspectReport(file: path, size: UInt64(bytes.count), verdict: verdict)
    do {
      report.verdict.reason =
        isChannel
        ? try inspectChannel(bytes, as: dialect, &report, line)
        : try inspectMain(bytes, &report, line)
    } catch let error as WireError {
      report.verdict = InspectReport.Verdict(error)
    } catch let error as InspectPayloadError {
      report.verdict = .init(ending: .corrupt, offset: error.offset, reason: error.reason)
    } catch {
      report.verdict = .init(ending: .corrupt, offset: 0, reason: "\(error)")
    }
    return report
  }
}

extension Inspector {
  /// Tells a main channel.
  ///
  /// - Returns: what deserves mention though the stream is complete.
  func inspectMain(
    _ bytes: UnsafeRawBufferPointer, _ report: inout InspectReport, _ line: (InspectLine) -> Void
  ) throws -> String? {
    var walk = InspectMain(bytes: bytes, isVerbose: isVerbose, limits: limits)
    defer {
      walk.main.machine = walk.decoder.configuration?.machine
      walk.main.capabilities = walk.decoder.configuration?.capabilities ?? []
      walk.main.blocks = walk.decoder.blocks.map { .init(name: $0.name, length: $0.usedLength) }
      walk.main.syncMode = walk.decoder.syncMode.map { $0 == .flush ? "flush" : "per-section" }
      // A file of another kind is told apart by its first four bytes.
      report.main = walk.decoder.phase == .fileHeader ? nil : walk.main
      report.elements = walk.elements
    }
    while let next = try walk.next() { try walk.tell(next.element, next.consumed, line) }
    return try walk.finish(line)
  }
}

/// A file that cannot be read: missing, forbidden, or no regular file.
public struct InspectFileError: Error, CustomStringConvertible {
  /// The file as it was named.
  public var path: String
  /// errno.
  public var code: Int32

  /// What the system says about the code.
  public var description: String { String(cString: strerror(code)) }
}

/// What was wrong with a payload, with its place.
struct InspectPayloadError: Error {
  var offset: UInt64
  var reason: String
}

/// Bytes in the largest binary unit that divides them.
func inspectSize(_ bytes: UInt64) -> String {
  for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] as [(UInt64, String)]
  where bytes > 0 && bytes & (1 << shift - 1) == 0 {
    return "\(bytes >> shift) \(unit)"
  }
  return "\(bytes) bytes"
}

/// `1 page`, `2 pages`.
func inspectCount(_ count: some BinaryInteger, _ what: String) -> String {
  "\(count) \(what)\(count == 1 ? "" : "s")"
}

extension Command {
  /// As SPECIFICATION section 1.4 calls it.
  var inspectName: String {
    switch self {
    case .openReturnPath: "OPEN_RETURN_PATH"
    case .ping(let value): "PING \(value)"
    case .enableCOLO: "ENABLE_COLO"
    case .switchoverStart: "SWITCHOVER_START"
    }
  }
}
