import COLO
import Foundation
import Memory
import Migration
import PluginLoader
import Roles
import SessionReplay
import Store
import System
import TestSupport
import Testing
import Transport
import Wire

/// What came of a receiver that met a fake source.
struct Reception {
  /// Over what.
  enum Transport: CaseIterable { case tcp, unix }

  let result: Result<ReceiveSummary, Failure>
  /// By connection, what the source heard.
  let heard: [FakeSource.Heard]
  /// What is in the store afterwards.
  let tree: [String]
  let store: String
  private let folder: TemporaryFolder

  /// Runs a receiver until it ends.
  ///
  /// - Parameters:
  ///   - place: a store elsewhere than in a folder of its own.
  ///   - configure: changes the options; the time-out is 10 s unless it does.
  ///   - meanwhile: runs beside the receiver once it listens.
  init(
    _ lines: [Line], over transport: Transport = .unix, in place: String? = nil,
    loader: PluginLoader = TestBackends.loader, seed: UInt64 = 1,
    configure: (inout ReceiveOptions) -> Void = { _ in },
    meanwhile: (@Sendable (Receiver, FakeSource) -> Void)? = nil
  ) throws {
    folder = try TemporaryFolder(.memory(bytes: 64 << 20))
    store = place ?? folder("store")
    var options = ReceiveOptions(
      listen: transport == .tcp ? .tcp(host: "127.0.0.1", port: 0) : .unix(path: folder("socket")),
      store: store)
    options.timeout = 10
    configure(&options)
    let helper = ThreadGroup()
    var source: FakeSource?
    let manifest = store + "/manifest.json"
    /// Lets go of the receiver, and so of its sockets, when it returns.
    func run() -> Result<ReceiveSummary, Failure> {
      let receiver = Receiver(options, loader: loader)
      return Result { () throws(Failure) in
        try receiver.run { endpoint in
          let new = FakeSource(lines, to: endpoint, manifest: manifest, seed: seed)
          source = new
          if let meanwhile { try! helper.start("meanwhile") { meanwhile(receiver, new) } }
        } onProgress: { _ in
        }
      }
    }
    result = run()
    helper.joinAll()
    heard = source?.end() ?? []
    tree = SmallFileSystem.tree(store)
    // A receiver that is gone leaves no connection open, however it ended.
    let open = heard.indices.filter { !heard[$0].closed }
    #expect(open.isEmpty, "connections that were not closed")
  }

  /// The failure; an issue when there is none.
  func failure(_ location: SourceLocation = #_sourceLocation) -> Failure? {
    switch result {
    case .failure(let failure): return failure
    case .success:
      Issue.record("the reception succeeded", sourceLocation: location)
      return nil
    }
  }

  /// Expects a failure with this exit code, whose text has all of these words, and no trace in the
  /// store.
  func expectFailure(
    _ kind: Failure.Kind, _ words: String..., location: SourceLocation = #_sourceLocation
  ) {
    guard let failure = failure(location) else { return }
    #expect(failure.kind == kind, "\(failure)", sourceLocation: location)
    for word in words {
      #expect(
        failure.description.contains(word), "'\(word)' is not in: \(failure)",
        sourceLocation: location)
    }
    #expect(!failure.description.contains("\n"), sourceLocation: location)
    #expect(tree == [], "traces in the store", sourceLocation: location)
  }

  /// Expects a guest that is held and equal to what `script` says.
  func expectHeld(_ script: StreamScript, location: SourceLocation = #_sourceLocation) throws {
    if case .failure(let failure) = result {
      Issue.record("\(failure)", sourceLocation: location)
      return
    }
    try Self.expectHeld(store, script, location: location)
  }

  /// The same for a store wherever it comes from.
  static func expectHeld(
    _ path: String, _ script: StreamScript, handedOver: Bool = false,
    location: SourceLocation = #_sourceLocation
  ) throws {
    let (store, manifest) = try Store.open(path, handedOver: handedOver)
    #expect(manifest.machine == script.decoder.configuration?.machine, sourceLocation: location)
    #expect(manifest.ramSection == script.decoder.ramSectionID, sourceLocation: location)
    #expect(manifest.blocks.map(\.name) == script.blocks.map(\.name), sourceLocation: location)
    #expect(try store.earlyState(manifest) == script.earlyState, sourceLocation: location)
    #expect(try store.deviceState(manifest) == script.deviceState, sourceLocation: location)
    #expect(try store.vmDescription(manifest) == script.vmDescription, sourceLocation: location)
    let replay = try StageReplay(script, cache: nil)
    try replay.run()
    for (description, expected) in zip(manifest.blocks, replay.stage.guest) {
      let file = try Data(contentsOf: URL(filePath: path + "/" + description.file))
      #expect(file.count == expected.length, sourceLocation: location)
      // Both are as long; the replay's memory lives until the end of the loop.
      let equal = file.withUnsafeBytes {
        memcmp($0.baseAddress!, expected.base, expected.length) == 0
      }
      #expect(equal, "\(description.name)", sourceLocation: location)
    }
  }
}
