import Foundation

/// A guest protected whole, memory, disks and packets: a stock primary, `multifd receive --colo
/// --disks` as its standby, what begins the protection, and witnesses of what others see. Then it
/// loses something (WholeGuest+Loss.swift), and goes on elsewhere.
public final class WholeGuest: Sendable {
  /// Who begins the protection.
  public enum Way: String, Sendable, CaseIterable {
    /// The lab, by QMP, as an operator would: no packet is held then.
    case qmp
    /// `multifd protect`.
    case protect
  }

  /// Whether there can be links in the middle of connections that nobody can look into: with the
  /// standby at a port of 127.0.0.1, they are at the same port of [::1].
  public static let canTLS: Bool = {
    if Sockets.hasSix { return true }
    SkipReason("there is no [::1]").announce("whole guests by TLS: they go in clear")
    return false
  }()

  /// How it is protected.
  public struct Setup: Sendable {
    /// The guest.
    public var guest = DiskGuest()
    /// Who begins the protection.
    public var way = Way.qmp
    /// Milliseconds between checkpoints.
    public var delay = 100
    /// Another `--checkpoint` of `multifd protect`: `5ms..10s`, say.
    public var checkpoint: String?
    /// Its `--linger`, in milliseconds.
    public var linger = 2
    /// What becomes of it when the primary is lost.
    public var onLoss = Protection.OnLoss.hold
    /// Its disks' writes wait for their checkpoint. False: they go to a stock QEMU's NBD server,
    /// and the guest must be found damaged.
    public var hasEpochs = true
    /// Its packets wait for their checkpoint. False: they leave at once, and that must be noticed.
    public var holdsPackets = true

    /// How long the way to the standby is: of everything, and of the disks' besides. One way.
    public var distance = (all: Duration.zero, disks: Duration.zero)
    /// MiB for the logs of the standby's disks, on a file system of their own, which takes root; nil:
    /// enough, beside the images.
    public var room: Int?
    /// Its connections to the standby go by TLS; of `multifd protect`, and where
    /// ``WholeGuest/canTLS``.
    public var tls: Credentials.Kind?
    /// Where its standby is: on the machine at the other end; nil: on this one.
    public var cable: Cable?
    /// multifd channels, with a backend at the standby that fails when it is told to; 0: none.
    public var channels = 0
    /// It is protected as soon as it has booted; else by ``WholeGuest/begin()``.
    public var begins = true

    /// What the primary sends is recorded, for ``WholeGuest/keep(in:)``.
    public var records = false

    /// Two disks, one network, by QMP.
    public init() {}
  }

  /// What may become another one.
  struct Processes {
    var standby: MultiFDProcess
    var place: FailoverPlace
    var protect: MultiFDProcess?
  }

  /// How.
  public let setup: Setup
  /// The primary.
  public let primary: QEMU
  /// What the primary sends.
  public let wire: PacketWitness
  /// The standby; after ``protectAgain(_:)`` another one.
  public var standby: MultiFDProcess { processes.read { $0.standby } }
  /// The standby's store.
  public let store: String
  /// The standby's images.
  public let images: [String]
  /// `multifd protect`, if that began it.
  var protect: MultiFDProcess? { processes.read { $0.protect } }
  /// Where the guest goes on.
  var place: FailoverPlace { processes.read { $0.place } }
  let processes: Monitor<Processes>
  /// Ports of the standby's: where it takes the migration, and where its disks are.
  let ports: (migration: Int, disks: Int)
  let folder: TemporaryFolder
  let memory: TemporaryFolder
  /// What it sends where it goes on.
  let laterWire: PacketWitness
  /// Between primary and standby: the migration, with what `multifd protect` says, and the disks.
  let links: [Proxy]
  let plain: PlainDisks?
  /// What both sides show, where they go by TLS.
  let credentials: Credentials?
  /// Where the logs of the standby's disks are, where that has an end.
  let room: SmallFileSystem?
  let backend: FailingBackend?

  /// Boots a guest and protects it; returns when checkpoints are being taken.
  public init(_ setup: Setup) throws {
    self.setup = setup
    folder = try TemporaryFolder()
    memory = try TemporaryFolder(.memory(bytes: 512 << 20))
    store = memory("store")
    wire = try PacketWitness(path: folder("wire"))
    laterWire = try PacketWitness(path: folder("later"))
    room = try setup.room.map { try SmallFileSystem("size=\($0)m") }
    images = try setup.guest.makeImages(in: folder("standby"))
    let own = try setup.guest.makeImages(in: folder("primary"))
    let place = try Self.place(setup, images, laterWire)
    plain = setup.hasEpochs ? nil : try PlainDisks(images, setup.guest.names)
    credentials = try setup.tls.map(Credentials.init)
    backend = setup.channels > 0 ? try FailingBackend() : nil
    let standby = try MultiFDProcess(
      Self.standbysWords(
        setup, store, images, place, logs: room?.path,
        (credentials?.arguments ?? []) + (backend?.arguments ?? [])),
      wrapper: setup.cable?.wrapper ?? [])
    processes = Monitor(Processes(standby: standby, place: place))
    ports = try Self.ports(standby, plain, hasDisks: setup.guest.disks > 0)
    func latency(_ time: Duration) -> Duration? { time > .zero ? time : nil }
    // By TLS nobody can tell another port: it is the same one, of another address.
    let hidden = setup.tls != nil
    let host = setup.cable?.address ?? "127.0.0.1"
    let disksLink = try Proxy(
      to: ports.disks, of: host, latency: latency(setup.distance.all + setup.distance.disks),
      onSix: hidden ? ports.disks : nil)
    // So that `multifd protect`, which is told where the disks are, comes to them by the link, too.
    let record = setup.records ? memory("record") : nil
    if let record {
      try FileManager.default.createDirectory(atPath: record, withIntermediateDirectories: true)
    }
    links = [
      try Proxy(
        to: ports.migration, of: host, record: record,
        telling: ports.disks > 0 && !hidden ? (ports.disks, disksLink.port) : nil,
        latency: latency(setup.distance.all), onSix: hidden ? 0 : nil), disksLink,
    ]
    let monitors = [folder("qmp"), folder("oob")]
    primary = try QEMU(
      .v111, setup.guest.machine(own, wire: wire.path),
      arguments: monitors.flatMap { ["-qmp", "unix:\($0),server=on,wait=off"] })
    try primary.waitBooted()
    guard wire.wait(.seconds(60), for: { $0.hasEveryKind ? true : nil }) == true else {
      throw LabError("the guest does not send: \(wire.seen.frames) frames came")
    }
    guard setup.begins else { return }
    try begin()
    wire.ask()
    laterWire.ask()
  }

  /// Protects it; returns when checkpoints are being taken.
  public func begin() throws {
    do {
      if setup.way == .qmp {
        try MirroredDisks(primary, setup.guest.names, port: links[1].port).mirror()
      }
      if setup.way == .protect { try startProtect() } else { try startCOLO() }
      try waitCheckpoint(3)
    } catch { throw LabError("\(error) \(complaints)") }
  }

  /// Where a standby's guest goes on: another standby's has another.
  static func place(
    _ setup: Setup, _ images: [String], _ wire: PacketWitness
  ) throws -> FailoverPlace {
    try FailoverPlace(
      .v111, setup.guest.machine(images, wire: wire.path), attaches: setup.onLoss != .failover)
  }

  /// The command of a standby, at ports of its own choice or at given ones.
  static func standbysWords(
    _ setup: Setup, _ store: String, _ images: [String], _ place: FailoverPlace,
    at ports: (migration: Int, disks: Int) = (0, 0), logs: String? = nil, _ more: [String] = []
  ) -> [String] {
    let own = setup.cable == nil ? "127.0.0.1" : "0.0.0.0"
    var words = [
      "receive", "--listen", "tcp:\(own):\(ports.migration)", "--store", store, "--colo",
      "--json", "--progress", "none",
    ]
    if setup.cable != nil { words.append("--insecure") }
    words += more
    if setup.hasEpochs, !images.isEmpty {
      // With TLS a protect takes the host that it has come by: that of the link.
      let host = setup.tls == nil ? own : "0.0.0.0"
      words += ["--disks", "tcp:\(host):\(ports.disks)"]
      for (name, image) in zip(setup.guest.names, images) {
        words += ["--disk", "\(name)=\(image)" + (logs.map { ",log=\($0)/\(name)" } ?? "")]
      }
    }
    if setup.onLoss != .hold { words += ["--on-loss", "failover", "--no-fence"] }
    if setup.onLoss == .spare { words.append("--spare") }
    if setup.onLoss != .hold { words += ["--"] + place.command }
    return words
  }

  private static func ports(
    _ standby: MultiFDProcess, _ plain: PlainDisks?, hasDisks: Bool
  ) throws -> (migration: Int, disks: Int) {
    func port(_ uri: String) throws -> Int {
      guard let port = uri.split(separator: ":").last.flatMap({ Int($0) }) else {
        throw LabError("no port in \(uri)")
      }
      return port
    }
    let migration = try port(try standby.waitListening())
    guard hasDisks else { return (migration, 0) }
    return (migration, try plain?.port ?? port(try standby.waitServing()))
  }

  private func startCOLO() throws {
    _ = try COLOSession(
      primary, to: "tcp:127.0.0.1:\(links[0].port)",
      .colo(.v111, channels: 0, delay: setup.delay))
  }

  /// Starts `multifd protect`.
  func startProtect() throws {
    let host = setup.tls == nil ? "127.0.0.1" : "[::1]"
    var words = [
      "protect", "--qmp", folder("qmp"), "--oob", folder("oob"), "--standby",
      "tcp:\(host):\(links[0].port)", "--all-disks", "--checkpoint",
      setup.checkpoint ?? "\(setup.delay)ms", "--linger", "\(setup.linger)", "--retry", "--json",
      "--sockets", folder.path,
    ]
    if setup.holdsPackets { words.append("--all-nets") }
    if setup.channels > 0 { words += ["--channels", "\(setup.channels)"] }
    words += credentials?.arguments ?? []
    switch setup.tls {
    case .x509: words += ["--tls-hostname", "localhost"]
    case .psk: words += ["--tls-psk-username", "guest"]
    case nil: break
    }
    let protect = try MultiFDProcess(words)
    processes.update { $0.protect = protect }
  }

  /// The last committed checkpoint, as the store says; 0 before the first.
  public var checkpoint: Int {
    guard let text = FileManager.default.contents(atPath: store + "/checkpoint"),
      let record = try? JSON(parsing: text)
    else { return 0 }
    return record["number"].int ?? 0
  }

  /// Waits until checkpoint `number` is committed.
  public func waitCheckpoint(_ number: Int, _ timeout: Duration = .seconds(60)) throws {
    let deadline = ContinuousClock.now + timeout
    while checkpoint < number {
      guard standby.process.isRunning, primary.process.isRunning,
        protect?.process.isRunning != false
      else { throw LabError("one has ended before checkpoint \(number): \(complaints)") }
      guard ContinuousClock.now < deadline else {
        throw LabError(
          "no checkpoint \(number) within \(timeout), but \(checkpoint): \(complaints)")
      }
      Thread.sleep(forTimeInterval: 0.01)
    }
  }

  /// Ends everything.
  public func end() {
    for link in links { link.close() }
    protect?.process.kill()
    primary.killNow()
    standby.process.kill()
    _ = standby.process.wait(.seconds(10))
    place.clear()
    plain?.end()
    wire.end()
    laterWire.end()
    folder.remove()
    credentials?.folder.remove()
    memory.remove()
  }
}
