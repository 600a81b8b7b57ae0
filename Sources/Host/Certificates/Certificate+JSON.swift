extension Certificate {
  /// The number that the file begins with: another one when what is there means something else.
  private static let format = 1.0

  /// The whole file.
  public var json: String {
    func texts(_ all: [String]) -> JSONValue { .array(all.map { .string($0) }) }
    return JSONValue.object([
      ("multifd_certificate", .number(Self.format)), ("harness", .string(harness)),
      ("file", .string(file)), ("sha256", .string(library.sha256)),
      ("size", .number(Double(library.size))), ("name", .string(name)),
      ("version", .string(version)), ("wire_format", .string(wireFormat)), ("date", .string(date)),
      (
        "machine",
        .object([
          ("processor", .string(machine.processor)),
          ("processors", .number(Double(machine.processors))),
          ("kernel", .string(machine.kernel)), ("libc", .string(machine.libc)),
        ])
      ),
      ("level", .number(Double(level))), ("strict", .bool(isStrict)),
      ("seeds", texts(seeds.map { String($0) })), ("options", texts(options)),
      ("corpus", corpus.map(Self.value) ?? .null),
      // Counted again by whoever reads it; here for people.
      (
        "counts",
        .object(
          ["passed", "failed", "skipped", "off", "left out"].map {
            ($0, .number(Double(count($0))))
          })
      ),
      (
        "results",
        .array(
          results.map { result in
            .object(
              [("test", .string(result.test)), ("outcome", .string(result.outcome))]
                + (result.reason.isEmpty ? [] : [("reason", .string(result.reason))]))
          })
      ),
    ]).text() + "\n"
  }

  private static func value(_ corpus: Corpus) -> JSONValue {
    .object([
      ("file", .string(corpus.file)), ("sha256", .string(corpus.bytes.sha256)),
      ("size", .number(Double(corpus.bytes.size))),
      // Follows from the size; here for people.
      ("pages", .number(Double(corpus.pages))),
    ])
  }

  /// Nil for text that is no certificate of this format.
  public init?(parsing bytes: [UInt8]) {
    guard let json = JSONValue(parsing: bytes),
      json["multifd_certificate"]?.number == Self.format
    else { return nil }
    func text(_ key: String, in value: JSONValue = json) -> String? { value[key]?.string.map(line) }
    func fingerprint(in value: JSONValue = json) -> Fingerprint? {
      guard let hash = text("sha256", in: value), hash.utf8.count == 64,
        let size = value["size"]?.number.flatMap({ Int(exactly: $0) }), size >= 0
      else { return nil }
      return Fingerprint(sha256: hash, size: size)
    }
    guard let harness = text("harness"), let file = text("file"), let library = fingerprint(),
      let name = text("name"), let version = text("version"), let format = text("wire_format"),
      let date = text("date"), let level = json["level"]?.number.flatMap({ Int(exactly: $0) }),
      let strict = json["strict"]?.bool, let machine = json["machine"],
      let processor = text("processor", in: machine), let kernel = text("kernel", in: machine),
      let processors = machine["processors"]?.number.flatMap({ Int(exactly: $0) }),
      let libc = text("libc", in: machine), let seeds = json["seeds"],
      let options = json["options"],
      let results = json["results"]
    else { return nil }
    var all: [Result] = []
    for result in results.elements {
      guard let test = text("test", in: result), let outcome = text("outcome", in: result) else {
        return nil
      }
      all.append(
        Result(test: test, outcome: outcome, reason: text("reason", in: result) ?? ""))
    }
    var corpus: Corpus?
    // Not there in one that an earlier harness has written.
    if let value = json["corpus"], value != .null {
      guard let file = text("file", in: value), let bytes = fingerprint(in: value) else {
        return nil
      }
      corpus = Corpus(file: file, bytes: bytes)
    }
    self.init(
      harness: harness, file: file, library: library, name: name,
      version: version, wireFormat: format, date: date,
      machine: Machine(processor: processor, processors: processors, kernel: kernel, libc: libc),
      level: level, isStrict: strict,
      seeds: seeds.elements.compactMap { $0.string.flatMap { UInt64($0) } },
      options: options.elements.compactMap { $0.string.map(line) }, corpus: corpus,
      results: all)
  }
}

/// Foreign text as one line without control characters, at most 600 of them.
private func line(_ text: String) -> String {
  var out = ""
  for scalar in text.unicodeScalars.prefix(600) {
    let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    out.unicodeScalars.append(isControl ? " " : scalar)
  }
  return out
}
