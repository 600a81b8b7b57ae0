import CHarness
import Glibc
import PluginAPI
import Synchronization

/// `roundtrip/changing-pages`: a guest writes to its pages, in another thread, while they are
/// encoded.
enum ChangingPages {
  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    guard !library.has(MULTIFD_CAP_STABLE_INPUT) else {
      throw .skipped("STABLE_INPUT is declared: the host hands out copies")
    }
    for content in [Content.text, .ram, .mixed] {
      try changing(
        context, library, Shape(library, pages: 32), content, options: context.order.options,
        rounds: context.rounds(200, quick: 30))
    }
    // What is read twice may be so with some options only. Few packets: some of them are slow.
    try interrupted(context, library, context.order.options)
    for options in try Options.affordable(context) where try Options.holds(options, context) {
      try interrupted(context, library, options)
    }
  }

  /// All pages of a packet change at one moment, a little later in each: what has been read till
  /// then is old, and what is read again is new.
  private static func interrupted(
    _ context: Context, _ library: Library, _ options: [String: String]
  ) throws(Stop) {
    let shape = Shape(library, pages: 8)
    let images = try images(of: .ram, shape, context)
    let live = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .target)
    let send = try SendDriver(context, shape, options: options)
    let receive = try ReceiveDriver(context, shape, options: options)
    func encode(_ delay: UInt64) throws(Stop) -> UInt64 {
      live.copy(images[0])
      var encoded: Payload?
      let time = meet(after: delay) {
        encoded = send.prepare(live, live.offsets)
      } _: {
        live.copy(images[1])
      }
      guard let payload = encoded else { throw .failed }
      try context.demand(payload.status, "send_prepare() while pages change")
      let status = receive.receive(payload.bytes, target, live.offsets)
      try context.require(
        status.isOK, "recv() returns \(status) for pages that changed while they were encoded")
      for offset in live.offsets {
        try context.require(
          couldHaveHeld(target, images, offset),
          "a byte of the page at \(offset) is neither the old one nor the new one")
      }
      return time
    }
    // The first one is not interrupted, and tells how long it takes.
    var whole = try encode(0)
    let moments = context.rounds(40, quick: 10)
    for moment in 1...moments {
      try Meeting.near(Double(moment) / Double(moments), &whole, once: encode)
    }
  }

  /// What pages hold before, and after.
  private static func images(
    of content: Content, _ shape: Shape, _ context: Context
  ) throws(Stop) -> [Block] {
    (0...1).map { number in
      let block = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
      var random = context.random("image\(number)\(content)")
      block.fill(content, &random)
      return block
    }
  }

  private static func changing(
    _ context: Context, _ library: Library, _ shape: Shape, _ content: Content,
    options: [String: String], rounds: Int
  ) throws(Stop) {
    let images = try images(of: content, shape, context)
    let live = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .source)
    live.copy(images[0])
    let target = Block(pageSize: shape.pageSize, pages: shape.pageCount, kind: .target)
    // Half of the packets are what the guest has changed of the old image, for those who can use it.
    let old = library.has(MULTIFD_CAP_REFERENCE) ? Block(copyOf: images[0]) : nil
    let send = try SendDriver(context, shape, options: options)
    let receive = try ReceiveDriver(context, shape, options: options)
    if let old {
      for reference in [old, nil] { try hold(context, send, receive, live, target, reference) }
    }
    let guest = Guest(live, images, context.random("guest\(content)"))
    let thread = Thread { guest.run() }
    defer {
      guest.stop()
      thread.join()
    }
    var random = context.random("pages")
    // Only what is encoded while the guest writes shows anything; on a busy machine that is not
    // every packet. A slow encoder meets in a quarter of the packets more of the guest's writes
    // than a fast one in all of them.
    var met = 0, writes = 0
    for round in 0..<5 * rounds where met < rounds && (met < rounds / 4 || writes < 100 * rounds) {
      let offsets = live.pick(Int.random(in: 1...shape.pageCount, using: &random), &random)
      guest.wake()
      let before = guest.writes
      let reference = round % 2 == 0 ? old : nil
      let payload = send.prepare(live, offsets, reference: reference)
      let seen = guest.writes - before
      guest.rest()
      if seen > 0 { met += 1 }
      writes += seen
      try context.demand(payload.status, "send_prepare() while pages change")
      let status = receive.receive(payload.bytes, target, offsets, reference: reference)
      try context.require(
        status.isOK, "recv() returns \(status) for pages that changed while they were encoded")
      for offset in offsets {
        try context.require(
          couldHaveHeld(target, images, offset),
          "a byte of the page at \(offset) is neither the old one nor the new one")
      }
    }
  }

  /// Pages that hold still pass with a reference and without, or it is not for this test to say.
  private static func hold(
    _ context: Context, _ send: SendDriver, _ receive: ReceiveDriver, _ live: Block,
    _ target: Block, _ reference: Block?
  ) throws(Stop) {
    let rule = "roundtrip/reference"
    let payload = send.prepare(live, live.offsets, reference: reference)
    try context.demand(payload.status, as: rule, "send_prepare()")
    let status = receive.receive(payload.bytes, target, live.offsets, reference: reference)
    try context.require(status.isOK, as: rule, "recv() returns \(status)")
    for offset in live.offsets {
      try context.require(
        live.equals(target, at: offset), as: rule, "the page at \(offset) is not what was sent")
    }
  }

  private static func couldHaveHeld(_ target: Block, _ images: [Block], _ offset: UInt64) -> Bool {
    if images.contains(where: { $0.equals(target, at: offset) }) { return true }
    let (got, old, new) = (
      target.bytes(at: offset), images[0].bytes(at: offset), images[1].bytes(at: offset)
    )
    return got.indices.allSatisfy { got[$0] == old[$0] || got[$0] == new[$0] }
  }

  /// A guest whose every byte is at any time that of one image or of the other. It sleeps between
  /// packets: one that wrote all the time would have used up its share of a busy machine when it is
  /// needed.
  ///
  /// @unchecked Sendable: the races on `live` are what is tested; the rest is atomic, or its
  /// thread's own.
  private final class Guest: @unchecked Sendable {
    private let live: Block
    private let images: [Block]
    private var random: Seeded
    private let isStopping = Atomic(false)
    private let isWriting = Atomic(false)
    private let count = Atomic(0)
    /// Counts calls of `wake()`. In memory of its own, since a semaphore may not move.
    private let calls = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(_ live: Block, _ images: [Block], _ random: Seeded) {
      self.live = live
      self.images = images
      self.random = random
      sem_init(calls, 0, 0)
    }

    /// Nobody is left to wait for it: the thread holds `self`.
    deinit {
      sem_destroy(calls)
      calls.deallocate()
    }

    var writes: Int { count.load(ordering: .relaxed) }

    /// Lets it write, and returns when it does, or when it seems to find no processor.
    func wake() {
      let before = writes, deadline = charness_now() + 200_000
      isWriting.store(true, ordering: .relaxed)
      sem_post(calls)
      while writes == before, charness_now() < deadline { sched_yield() }
    }

    func rest() { isWriting.store(false, ordering: .relaxed) }

    func stop() {
      isStopping.store(true, ordering: .relaxed)
      rest()
      sem_post(calls)
    }

    func run() {
      while true {
        // A signal only makes it look once more.
        sem_wait(calls)
        if isStopping.load(ordering: .relaxed) { return }
        while isWriting.load(ordering: .relaxed) {
          for _ in 0..<16 { write() }
          // Where both have one processor it is the encoder's turn.
          sched_yield()
        }
      }
    }

    private func write() {
      let offset = live.offsets.randomElement(using: &random)!
      let at = Int.random(in: 0..<live.pageSize, using: &random)
      let size = min(Int.random(in: 1...600, using: &random), live.pageSize - at)
      let image = images[Int.random(in: 0...1, using: &random)]
      // Inside one page of blocks of the same layout.
      charness_overwrite(live.page(at: offset) + at, image.page(at: offset) + at, size)
      count.wrappingAdd(1, ordering: .relaxed)
    }
  }
}

extension Block {
  /// Becomes like a block of the same layout, as a guest does it: whoever reads meanwhile reads of
  /// both.
  fileprivate func copy(_ image: Block) {
    for offset in offsets {
      charness_overwrite(page(at: offset), image.page(at: offset), pageSize)
    }
  }
}
