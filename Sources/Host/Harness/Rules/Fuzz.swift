import CHarness
import Glibc
import PluginAPI

/// `fuzz`: random input until the time is up. Guided by coverage where the backend was built with
/// `-fsanitize-coverage=inline-8bit-counters`; the counters arrive here by themselves.
enum Fuzz {
  static let bodies: [String: Rules.Body] = ["fuzz/decode": decode, "fuzz/encode": encode]

  /// Puts a case where the parent finds it if this process does not survive it.
  private static func note(_ recording: Recording) {
    guard let shared = charness_shared_memory() else { return }
    let bytes = recording.bytes
    guard bytes.count <= Int(CHARNESS_CASE_MAX) else {
      shared.pointee.case_size = 0
      return
    }
    // There is room for CHARNESS_CASE_MAX bytes.
    bytes.withUnsafeBytes {
      _ = memcpy(charness_case_bytes(shared), $0.baseAddress!, $0.count)
    }
    shared.pointee.case_size = UInt32(bytes.count)
  }

  private static func replayed(_ context: Context) throws(Stop) -> Recording? {
    guard let path = context.order.replay else { return nil }
    guard let recording = readFile(path).flatMap({ Recording($0) }) else {
      context.fail("\(path) is not a case that this harness has written")
      throw .failed
    }
    return recording
  }

  // MARK: Decoding

  @Sendable private static func decode(_ context: Context) throws(Stop) {
    let library = try context.library
    let seeds = try honest(context, library)
    if let recording = try replayed(context) {
      try attempt(recording, context, pages: seeds.pages)
      return
    }
    var mutator = Mutator(
      random: context.random("mutator"), corpus: seeds.sequences.flatMap { $0.map(\.payload) },
      lies: Hostile.lies(seeds.attack), limit: seeds.attack.limit)
    var sequences = seeds.sequences
    let corpus = CorpusFolder(context, library, seeds.attack.shape)
    var sights = Set<String>()
    // What earlier runs have found new is tried first: a fault that has come back is there at once.
    for recording in corpus?.recordings ?? [] {
      sights.insert(try attempt(recording, context, pages: seeds.pages))
      if context.reporter.total > 0 { return }
      sequences.append(recording.entries)
      mutator.corpus += recording.entries.map(\.payload)
    }
    let options = context.order.options
    let deadline = charness_now() + UInt64(context.order.fuzzTime * 1e9)
    var cases = 0, fresh = 0
    _ = charness_coverage_new()
    while charness_now() < deadline {
      let sequence = sequences.randomElement(using: &mutator.random)!
      var recording = Recording(library, seeds.attack.shape, options: options)
      let victim = Int.random(in: 0..<sequence.count, using: &mutator.random)
      for (index, entry) in sequence.enumerated() {
        var entry = entry
        if index == victim || Int.random(in: 0..<4, using: &mutator.random) == 0 {
          entry.payload = mutator.spoil(entry.payload)
          vary(&entry.offsets, seeds.pages, seeds.attack.shape.pageCount, &mutator.random)
        }
        recording.entries.append(entry)
      }
      let sight = try attempt(recording, context, pages: seeds.pages)
      cases += 1
      if context.reporter.total > 0 { return }
      guard sequences.count < 2000 else { continue }
      // Without counters, what a refusal says tells one way through the code from another.
      let counts = charness_coverage_size() > 0
      if counts ? charness_coverage_new() > 0 : corpus != nil && sights.insert(sight).inserted {
        fresh += 1
        sequences.append(recording.entries)
        mutator.corpus.append(recording.entries[victim].payload)
        corpus?.keep(recording)
      }
    }
    charness_shared_memory()?.pointee.case_size = 0
    context.measure("fuzz.decode.cases", Double(cases), "")
    if charness_coverage_size() > 0 {
      context.measure("fuzz.decode.new-coverage", Double(fresh), "")
    } else if corpus != nil {
      context.measure("fuzz.decode.new-refusals", Double(fresh), "")
    }
  }

  private struct Seeds {
    let attack: Attack
    var sequences: [[Recording.Entry]]
    let pages: [UInt64]
  }

  /// Short sequences of honest packets, of several contents.
  private static func honest(_ context: Context, _ library: Library) throws(Stop) -> Seeds {
    let attack = try Attack(context)
    var seeds = Seeds(attack: attack, sequences: [], pages: attack.source.offsets)
    // Payloads that refer to an image are spoilt as well; which image they meet does not matter.
    let isDelta = library.has(MULTIFD_CAP_REFERENCE)
    for attack in isDelta ? [attack, try Attack(context, nearness: .close)] : [attack] {
      seeds.sequences.append(
        attack.packets.map { Recording.Entry(offsets: $0.offsets, payload: $0.payload) })
    }
    for content in [Content.text, .zero, .sparse, .ram, .random, .period] {
      let lane = try Lane(context, attack.shape, pages: 12, label: content.rawValue, content)
      var entries: [Recording.Entry] = []
      for count in [2, 1, 3] {
        let packet = try lane.send(Array(lane.source.offsets.prefix(count)))
        entries.append(Recording.Entry(offsets: packet.offsets, payload: packet.payload))
        seeds.sequences.append(entries)
      }
      lane.close()
    }
    return seeds
  }

  /// Sometimes another number of pages, or one page several times.
  private static func vary(
    _ offsets: inout [UInt64], _ pages: [UInt64], _ most: Int, _ random: inout Seeded
  ) {
    switch random.next() % 16 {
    case 0:
      offsets = Array(pages.prefix(Int.random(in: 1...min(most, pages.count), using: &random)))
    case 1:
      let page = pages.randomElement(using: &random)!
      offsets = [UInt64](repeating: page, count: offsets.count)
    default: break
    }
  }

  /// Decodes a sequence on a fresh channel until something is refused. What was seen: how many
  /// packets decoded, and what the refusal said, without its numbers.
  @discardableResult
  private static func attempt(
    _ recording: Recording, _ context: Context, pages: [UInt64]
  ) throws(Stop) -> String {
    note(recording)
    let all = Set(pages).union(recording.entries.flatMap(\.offsets))
    let target = Self.target(recording.pageSize, all.sorted())
    let reference = try context.library.has(MULTIFD_CAP_REFERENCE) ? image(target) : nil
    let receiver = try ReceiveDriver(context, recording.shape, options: recording.options)
    for (number, entry) in recording.entries.enumerated() {
      target.poison()
      let status = receiver.receive(entry.payload, target, entry.offsets, reference: reference)
      let inPacket = Set(entry.offsets)
      for offset in target.offsets where !inPacket.contains(offset) && !target.isPoisoned(offset) {
        context.fail(
          "packet \(number): recv() wrote to the page at \(offset), which is not in the packet",
          as: "bounds/other-pages")
      }
      if case .failed(let code, let text) = status {
        context.check(
          code != MULTIFD_ERROR_INTERNAL, as: "hostile/status",
          "packet \(number): recv() returns \(status), not CORRUPT")
        return "\(number) \(code) " + text.filter { !$0.isNumber }
      }
    }
    return "\(recording.entries.count)"
  }

  /// The same block for the same pages: mapping memory anew would be most of the work.
  nonisolated(unsafe) private static var lastTarget: Block?  // the main thread's

  private static func target(_ pageSize: Int, _ offsets: [UInt64]) -> Block {
    if let last = lastTarget, last.pageSize == pageSize, last.offsets == offsets { return last }
    let block = Block(pageSize: pageSize, offsets: offsets, kind: .target)
    lastTarget = block
    return block
  }

  nonisolated(unsafe) private static var lastImage: Block?  // the main thread's

  /// Something for payloads to refer to, of the same pages as `target`.
  private static func image(_ target: Block) -> Block {
    if let last = lastImage, last.pageSize == target.pageSize, last.offsets == target.offsets {
      return last
    }
    let block = Block(pageSize: target.pageSize, offsets: target.offsets, kind: .reference)
    var random = Seeded(1)
    block.fill(.random, &random)
    block.allow(.reading)
    lastImage = block
    return block
  }

  // MARK: Encoding

  @Sendable private static func encode(_ context: Context) throws(Stop) {
    let library = try context.library
    if let recording = try replayed(context) {
      try round(recording.round, context, library)
      return
    }
    let deadline = charness_now() + UInt64(context.order.fuzzTime * 1e9)
    var random = context.random("rounds")
    var rounds = 0
    while charness_now() < deadline {
      try round(random.next(), context, library)
      rounds += 1
      if context.reporter.total > 0 { return }
    }
    charness_shared_memory()?.pointee.case_size = 0
    context.measure("fuzz.encode.rounds", Double(rounds), "")
  }

  /// A channel of random sizes and options, some packets of random pages: all follows from
  /// `number`.
  private static func round(
    _ number: UInt64, _ context: Context, _ library: Library
  ) throws(Stop) {
    var random = Seeded(number)
    var size = library.pageSize
    for _ in 0..<Int.random(in: 0...3, using: &random) where library.supports(size * 2, 1) {
      size *= 2
    }
    let most = max(1, (128 << 12) / size)
    let shape = Shape(pageSize: size, pageCount: Int.random(in: 1...most, using: &random))
    guard library.supports(shape.pageSize, shape.pageCount) else { return }
    var options = context.order.options
    // Extreme values cost seconds in some codecs; options/combinations has them.
    if Int.random(in: 0..<4, using: &random) == 0,
      let option = library.options.first(where: {
        $0.type == MULTIFD_OPTION_ENUM || $0.type == MULTIFD_OPTION_BOOL
      }), let name = option.name
    {
      options[name] = option.anyValue(&random)
    }
    var recording = Recording(library, shape, options: options)
    recording.round = number
    note(recording)
    let contents = (0..<6).map { _ in Content.allCases.randomElement(using: &random)! }
    let lane = try Lane(
      context, shape, pages: min(shape.pageCount + 4, 140), options: options, label: "\(number)"
    ) { contents[$0 % 6] }
    for _ in 0..<Int.random(in: 1...6, using: &random) {
      let count = Int.random(in: 0...shape.pageCount, using: &random)
      try lane.pass(lane.source.pick(count, &random), number: random.next() >> 20)
    }
    lane.close()
  }
}
