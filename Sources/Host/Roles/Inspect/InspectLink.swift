import Migration
import PluginLoader
import Wire

extension Inspector {
  /// Tells a connection of a link: its hello, and the channel behind it; or its answer, and what the
  /// destination said behind that.
  func inspectLink(
    _ bytes: UnsafeRawBufferPointer, _ line: (InspectLine) -> Void
  ) -> InspectReport {
    let size = UInt64(bytes.count)
    do throws(WireError) {
      if bytes.starts(with: Array("MFDLANSW".utf8)) { return try inspectAnswer(bytes, line) }
      guard case .hello(let hello, let consumed) = try LinkHello.decode(bytes) else {
        throw WireError(.truncated, at: size, "the recording ends inside a link's hello")
      }
      let link = InspectReport.Link(
        frame: "hello", version: "\(hello.version)", session: "\(hello.session)",
        role: "\(hello.role)", formats: hello.formats.map(\.name),
        required: hello.role == .main ? hello.required : nil, files: hello.inspectFiles)
      line(InspectLine(offset: 0, depth: 0, what: "hello", detail: hello.inspectDetail))
      let rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
      // A far side that has refused gets nothing behind the hello.
      guard !rest.isEmpty else {
        return report(
          link, size, .init(ending: .complete, offset: size, reason: "the hello alone"))
      }
      var report = inspect(rest, as: .link(formats ?? .unknown)) {
        line($0.moved(by: UInt64(consumed)))
      }
      report.link = link
      report.size = size
      report.verdict.offset += UInt64(consumed)
      return report
    } catch { return report(nil, size, .init(error)) }
  }

  /// Tells an answer, and the return path behind it, which COLO's messages end.
  private func inspectAnswer(
    _ bytes: UnsafeRawBufferPointer, _ line: (InspectLine) -> Void
  ) throws(WireError) -> InspectReport {
    let size = UInt64(bytes.count)
    guard case .answer(let answer, var at) = try LinkAnswer.decode(bytes, to: nil) else {
      throw WireError(.truncated, at: size, "the recording ends inside a link's answer")
    }
    var link = InspectReport.Link(frame: "answer", version: "1.0", formats: [])
    var elements: [String: UInt64] = [:]
    switch answer {
    case .accepted(let formats, let hasReference):
      link.formats = formats.agreed.map(\.name)
      let detail = "accepted\(formats.inspectDetail)\(hasReference ? ", a reference follows" : "")"
      line(InspectLine(offset: 0, depth: 0, what: "answer", detail: detail))
      if hasReference { at = try inspectReference(bytes, from: at, &elements, line) }
    case .refused(let refusal):
      link.refused = refusal.text
      line(InspectLine(offset: 0, depth: 0, what: "answer", detail: "refused: \(refusal)"))
    }
    var note: String?
    while at < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
      guard let step = try? ReturnPathMessage.decode(rest, at: UInt64(at)) else {
        note = "\(rest.count) bytes behind the return path's messages, as COLO has them"
        break
      }
      guard case .message(let message, let consumed) = step else {
        throw WireError(.truncated, at: size, "the recording ends inside a message")
      }
      line(InspectLine(offset: UInt64(at), depth: 0, what: "return path", detail: "\(message)"))
      elements["return-path-messages", default: 0] += 1
      at += consumed
    }
    var report = report(link, size, .init(ending: .complete, offset: size, reason: note))
    report.elements = elements
    return report
  }

  /// Tells a reference.
  ///
  /// - Returns: where it ends.
  private func inspectReference(
    _ bytes: UnsafeRawBufferPointer, from start: Int, _ elements: inout [String: UInt64],
    _ line: (InspectLine) -> Void
  ) throws(WireError) -> Int {
    var decoder = LinkReferenceDecoder(limits: limits, at: UInt64(start))
    var (at, hashes, zero) = (start, UInt64(0), UInt64(0))
    while true {
      switch try decoder.next(UnsafeRawBufferPointer(rebasing: bytes[at...])) {
      case .needMore:
        throw WireError(
          .truncated, at: UInt64(bytes.count), "the recording ends inside a link's reference")
      case .end:
        let detail = "\(hashes) pages by their hashes, \(zero) zero"
        line(InspectLine(offset: UInt64(start), depth: 0, what: "reference", detail: detail))
        elements["reference-hashes"] = hashes
        elements["reference-zero-pages"] = zero
        return at
      case .element(let element, let consumed):
        switch element {
        case .blocks(let blocks):
          for block in blocks {
            line(
              InspectLine(
                offset: UInt64(at), depth: 1, what: "block",
                detail: "\(block.name), \(block.usedLength) bytes"))
          }
        case .hashes(_, let pages): hashes += UInt64(pages.count)
        case .zero(_, let pages): zero += UInt64(pages.count)
        }
        at += consumed
      }
    }
  }

  private func report(
    _ link: InspectReport.Link?, _ size: UInt64, _ verdict: InspectReport.Verdict
  ) -> InspectReport {
    var report = InspectReport(file: path, size: size, verdict: verdict)
    report.link = link
    return report
  }
}

extension InspectReport.Link {
  /// What an answer says that was agreed; nil where this is none that accepts.
  public var agreed: LinkFormats? {
    guard frame == "answer", refused == nil else { return nil }
    return LinkFormats(formats.compactMap { LinkFormat($0, bound: LinkFormat.maxBound) })
  }
}

extension LinkFormats {
  /// Where the answer is not known: every index is something.
  static let unknown: LinkFormats = {
    let formats = (1...most).compactMap { LinkFormat("index-\($0)/1", bound: LinkFormat.maxBound) }
    return LinkFormats(formats) ?? .rawOnly
  }()

  fileprivate var inspectDetail: String {
    agreed.enumerated().map { ", \($0.offset + 1) = \($0.element.name)" }.joined()
  }
}

extension LinkHello {
  fileprivate var inspectFiles: [InspectReport.Link.File]? {
    if files.isEmpty { return nil }
    return files.map {
      InspectReport.Link.File(
        format: formats[$0.format - 1].name, option: $0.option, size: Int($0.size),
        name: OptionFile.name($0.digest))
    }
  }

  fileprivate var inspectDetail: String {
    var parts = [
      "\(role)", "session \(session)", "version \(version)",
      "\(capacity) pages of \(pageSize) bytes",
    ]
    for (index, format) in formats.enumerated() {
      parts.append("\(format.name) up to \(format.bound)\(index < required ? " required" : "")")
    }
    for file in inspectFiles ?? [] {
      parts.append("\(file.format) with \(file.option) \(file.name), \(file.size) bytes")
    }
    if reference != nil { parts.append("asks for a reference") }
    return parts.joined(separator: ", ")
  }
}

/// The backends for a recorded link, by the formats of its answer.
struct RecordedBackends: PacketBackends {
  /// Nil where the answer is not known.
  let formats: LinkFormats?
  /// What they were encoded with besides, as the main hello says.
  let files: [InspectReport.Link.File]
  let loader: PluginLoader

  func backend(for method: MultiFDMethod) throws -> (Backend, OptionValues) {
    guard let format = formats?[method.index] else {
      throw PluginError(
        .notFound, what: "format \(method.index) of the link",
        why: "the answer to its main hello says what that is",
        hint: "name the recording of it before the channels")
    }
    let backend = try loader.load(wireFormat: format.name, to: .receive)
    var found: [OptionFile] = []
    for file in files where file.format == format.name {
      guard let one = loader.dictionary(named: file.name, for: file.option) else {
        throw PluginError(
          .notFound, what: "\(format.name), option \(file.option)",
          why: "there is no dictionaries/\(file.name) in \(loader.searchPath.foldersText)")
      }
      found.append(one)
    }
    return (backend, try backend.parse([], files: found))
  }
}
