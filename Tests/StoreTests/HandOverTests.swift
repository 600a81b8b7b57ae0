import Foundation
import Glibc
import Store
import TestSupport
import Testing

/// Who has the guest, after every order of words that the type allows. What it does not allow is
/// not written here: it does not compile.
@Suite("A hand-over and its store")
struct HandOverTests {
  typealias State = Manifest.State

  let folder: TemporaryFolder
  var path: String { folder("store") }

  init() throws { folder = try TemporaryFolder(.memory(bytes: 16 << 20)) }

  /// What a hand-over may begin from, and whether only by force.
  static let givable: [(State, forced: Bool)] = [
    (.held, false), (.standby, false), (.unsettled, true), (.handingOver, true),
    (.handedOver, true),
  ]

  /// A store whose guest is in that state, with somebody's name where there would be one.
  private func make(_ state: State) throws {
    try? FileManager.default.removeItem(atPath: path)
    try TestGuest.held(in: path)
    let isGone = state == .handingOver || state == .handedOver
    try TestGuest.set(state, to: isGone ? "tcp:first:1" : nil, in: path)
  }

  private func manifest() throws -> Manifest {
    try #require(try Store.status(of: path).manifest)
  }

  static func failure(_ body: () throws(HandOver.NotBegun) -> Void) -> HandOver.NotBegun? {
    do throws(HandOver.NotBegun) {
      try body()
      return nil
    } catch { return error }
  }

  @Test("Begun: the store says so, to whom, and that it may run there", arguments: [0, 1, 2, 3, 4])
  func begun(row: Int) throws {
    let (state, forced) = Self.givable[row]
    try make(state)
    do {
      let store = try Store.open(path, handedOver: forced).store
      let handOver = try HandOver.begin(to: "tcp:second:2", from: store)
      #expect(try manifest().state == .handingOver)
      #expect(try manifest().handedOverTo == "tcp:second:2")
      // In its middle: the process is there, and has the store.
      #expect(TestGuest.open(path, handedOver: true) == .busy)
      handOver.unknown()
    }
    #expect(TestGuest.open(path) == .handedOver)
    try TestGuest.expectWhole(path, handedOver: true)
  }

  @Test("Dropped without a word: unknown", arguments: [0, 1, 2, 3, 4])
  func dropped(row: Int) throws {
    let (state, forced) = Self.givable[row]
    try make(state)
    do {
      let store = try Store.open(path, handedOver: forced).store
      _ = try HandOver.begin(to: "tcp:second:2", from: store)
    }
    #expect(try manifest().state == .handingOver)
    #expect(TestGuest.open(path) == .handedOver)
  }

  @Test("Refused: as before it was begun, and it can be begun again", arguments: [0, 1, 2, 3, 4])
  func refused(row: Int) throws {
    let (state, forced) = Self.givable[row]
    try make(state)
    let before = try manifest()
    let opened = TestGuest.open(path)
    do {
      let store = try Store.open(path, handedOver: forced).store
      for taker in ["tcp:second:2", "tcp:third:3"] {
        let handOver = try HandOver.begin(to: taker, from: store)
        #expect(try manifest().handedOverTo == taker)
        try handOver.refused()
        #expect(try manifest() == before)
      }
    }
    #expect(TestGuest.open(path) == opened)
    try TestGuest.expectWhole(path, handedOver: true)
  }

  @Test("Taken: only by force again", arguments: [0, 1, 2, 3, 4], [false, true])
  func taken(row: Int, refusedFirst: Bool) throws {
    let (state, forced) = Self.givable[row]
    try make(state)
    let before = try manifest()
    do {
      let store = try Store.open(path, handedOver: forced).store
      if refusedFirst { try HandOver.begin(to: "tcp:second:2", from: store).refused() }
      try HandOver.begin(to: "tcp:third:3", from: store).taken(by: "tcp:third:3")
    }
    var expected = before
    expected.state = .handedOver
    expected.handedOverTo = try manifest().handedOverTo
    #expect(try manifest() == expected, "nothing else has changed")
    #expect(expected.handedOverTo?.hasPrefix("tcp:third:3 at 2") == true)
    #expect(TestGuest.open(path) == .handedOver)
    #expect(try Store.status(of: path).state == nil)
    try TestGuest.expectWhole(path, handedOver: true)
  }

  @Test("Taken in place: not even by force again", arguments: [0, 1, 2, 3, 4])
  func takenInPlace(row: Int) throws {
    let (state, forced) = Self.givable[row]
    try make(state)
    do {
      let store = try Store.open(path, handedOver: forced).store
      try HandOver.begin(to: "failover on this machine", from: store)
        .taken(by: "failover to pid 7", inPlace: true)
    }
    #expect(try manifest().state == .handedOver && manifest().failedOver == true)
    #expect(try manifest().handedOverTo?.hasPrefix("failover to pid 7 at 2") == true)
    #expect(try Store.status(of: path).state == "used")
    #expect(TestGuest.open(path) == .used)
    #expect(TestGuest.open(path, handedOver: true) == .used)
  }

  @Test("The lock is the hand-over's, whoever else has let go of the store")
  func lock() throws {
    try make(.held)
    let handOver = try HandOver.begin(to: "tcp:second:2", from: Store.open(path).store)
    #expect(TestGuest.open(path, handedOver: true) == .busy)
    #expect(TestGuest.prepare(path) == .busy)
    try handOver.refused()
    #expect(TestGuest.open(path) == nil)
  }

  @Test(
    "One at a time, and none after one that was not refused, not even by force",
    .enabled(if: !_isDebugAssertConfiguration(), "SKIPPED: a debug build traps"),
    arguments: [State.held, .handedOver])
  func second(state: State) throws {
    try make(state)
    let store = try Store.open(path, handedOver: state != .held).store
    func another() -> StoreError.Kind? {
      Self.failure { () throws(HandOver.NotBegun) in
        try HandOver.begin(to: "tcp:third:3", from: store).unknown()
      }?.cause.kind
    }
    let first = try HandOver.begin(to: "tcp:second:2", from: store)
    #expect(another() == .outOfTurn)
    #expect(try manifest().handedOverTo == "tcp:second:2")
    try first.taken(by: "tcp:second:2")
    #expect(another() == .outOfTurn)
    #expect(try manifest().state == .handedOver)
  }

  @Test(
    "A guest that has not come is nobody's to give; one that is here does not come again",
    .enabled(if: !_isDebugAssertConfiguration(), "SKIPPED: a debug build traps"))
  func outOfTurn() throws {
    let store = try Store.prepare(path)
    func begin() -> HandOver.NotBegun? {
      Self.failure { () throws(HandOver.NotBegun) in
        try HandOver.begin(to: "tcp:second:2", from: store).unknown()
      }
    }
    #expect(begin()?.cause.kind == .outOfTurn && begin()?.isAsBefore == true)
    #expect(SmallFileSystem.tree(path) == ["lock"])
    try TestGuest.hold(store)
    let held = try manifest()
    #expect(begin()?.cause.kind == .outOfTurn)
    #expect(throws: StoreError.self) {
      try store.hold(
        TestGuest.manifest, as: .standby, blocks: [], earlyState: Data(), deviceState: Data(),
        vmDescription: Data())
    }
    #expect(throws: StoreError.self) { try store.settle() }
    #expect(try manifest() == held)
    withExtendedLifetime(store) {}
  }

  @Test("A store that cannot be written: nothing is begun, or what was said last stays")
  func unwritable() throws {
    let blocked = path + "/manifest.json.new"
    try make(.held)
    do {
      let store = try Store.open(path).store
      mkdir(blocked, 0o700)
      let failure = Self.failure { () throws(HandOver.NotBegun) in
        try HandOver.begin(to: "tcp:second:2", from: store).unknown()
      }
      #expect(failure?.cause.kind == .system && failure?.isAsBefore == false)
    }
    rmdir(blocked)
    #expect(TestGuest.open(path) == nil)
    for isTaken in [true, false] {
      try make(.held)
      do {
        let store = try Store.open(path).store
        // What is consumed inside of a closure has to be taken out first.
        var handOver: HandOver? = try HandOver.begin(to: "tcp:second:2", from: store)
        mkdir(blocked, 0o700)
        let failure = TestGuest.failure { () throws(StoreError) in
          let begun = handOver.take()
          if isTaken { try begun?.taken(by: "tcp:second:2") } else { try begun?.refused() }
        }
        #expect(failure == .system)
      }
      rmdir(blocked)
      #expect(try manifest().state == .handingOver)
    }
  }

  @Test(
    "A full disk: every step has its room",
    .enabled(if: SmallFileSystem.isAvailable, "SKIPPED: a small file system needs root"),
    arguments: [false, true])
  func full(isTaken: Bool) throws {
    let system = try SmallFileSystem("size=16m")
    let path = system.path + "/store"
    try TestGuest.held(in: path)
    do {
      let store = try Store.open(path).store
      try system.fill()
      let handOver = try HandOver.begin(to: "tcp:second:2", from: store)
      #expect(try Store.status(of: path).manifest?.state == .handingOver)
      if isTaken { try handOver.taken(by: "pid 7", inPlace: true) } else { try handOver.refused() }
    }
    let status = try Store.status(of: path)
    #expect(status.manifest?.state == (isTaken ? .handedOver : .held))
    #expect(status.manifest?.failedOver == (isTaken ? true : nil))
    if !isTaken { try TestGuest.expectWhole(path) }
  }

  @Test("What a process has left that has ended: taken by the taker's word, or told to its source")
  func left() throws {
    try make(.handingOver)
    for _ in 0..<2 {
      try HandOver.wasTaken(in: path)
      #expect(try manifest().state == .handedOver && manifest().handedOverTo == "tcp:first:1")
    }
    try make(.unsettled)
    for _ in 0..<2 {
      try Store.settle(path)
      #expect(try manifest().state == .held)
    }
    try TestGuest.expectWhole(path)
  }
}
