import Foundation
import Glibc
import Migration
import Roles
import SessionReplay
import TLS
import TestSupport
import Testing

/// A standby's disks by TLS: who comes in, who does not, and what is said of that.
@Suite("The NBD server of a standby, with TLS", .beside)
struct DiskTLSTests {
  /// A server of some disks that asks for TLS, and what it says.
  struct Serving {
    let place: DiskPlace
    let standby: LocalStandby
    let authority: CertificateAuthority
    let folder: TemporaryFolder
    private let said = Monitor<[String]>([])

    /// - Parameter isShared: by keys, not by certificates.
    init(
      _ count: Int = 1, timeout: Double = 20, isShared: Bool = false,
      _ adjust: (inout TLSCredentials.Wishes) -> Void = { _ in }
    ) throws {
      let said = said
      place = try DiskPlace(count)
      authority = try CertificateAuthority()
      folder = try TemporaryFolder()
      if isShared {
        try CertificateAuthority.fillKeys(folder, ["qemu": "one", "other": "two"])
      } else {
        try authority.fill(folder)
      }
      var wishes = TLSCredentials.Wishes()
      adjust(&wishes)
      let tls = try TLSCredentials(in: folder.path, for: .listening, wishes)
      standby = try LocalStandby(
        disks: place.options(), lines: said
      ) { ($0.timeout, $0.tls) = (timeout, tls) }
    }

    /// Of a client that is to come in.
    func credentials() throws -> TLSCredentials {
      try TLSCredentials(in: folder.path, for: .connecting)
    }

    /// Waits for a line with these words.
    func expectLine(_ words: String, location: SourceLocation = #_sourceLocation) {
      let isSaid = said.wait(.seconds(20)) { lines -> Bool? in
        lines.contains { $0.contains(words) } ? true : nil
      }
      #expect(isSaid == true, "\(said.read { $0 })", sourceLocation: location)
    }

    func end() throws {
      standby.receiver.cancel(.failed, "the test is over")
      _ = try standby.refusal()
    }
  }

  @Test("Nothing before STARTTLS; in TLS all that there is", arguments: [false, true])
  func handshake(isShared: Bool) throws {
    let serving = try Serving(2, isShared: isShared)
    let tls = try serving.credentials()
    let disk = serving.place.disks[1]
    for way in 0..<3 {
      let client = try NBDClient(serving.place.uri)
      defer { client.close() }
      try client.greet(flags: way == 2 ? 1 : 3)
      for (option, data) in [
        (3, []), (6, NBDClient.infoData("disk1")), (7, NBDClient.infoData("disk1")), (8, []),
        (4711, [1]),
      ] as [(UInt32, [UInt8])] {
        #expect(throws: NBDClient.Ended.refused(NBDClient.Code.tlsRequired)) {
          try client.ask(option, data)
        }
      }
      #expect(throws: NBDClient.Ended.refused(NBDClient.Code.invalid)) {
        try client.ask(NBDClient.Option.startTLS, [0])
      }
      try client.startTLS(tls)
      #expect(throws: NBDClient.Ended.refused(NBDClient.Code.invalid)) {
        try client.ask(NBDClient.Option.startTLS)
      }
      #expect(try client.list() == ["disk0", "disk1"])
      switch way {
      case 0: try client.go("disk1")
      default: try client.exportName("disk1", zeroes: way == 2)
      }
      #expect(client.size == UInt64(disk.size))
      let data = disk.randomBytes(100_000)
      #expect(try client.perform(.write, at: 7, count: data.count, data).error == 0)
      #expect(try client.perform(.read, at: 7, count: data.count).data == data)
      try client.send(NBDClient.request(2, at: 0, count: 0))
      #expect(client.readToEnd())
    }
    serving.expectLine("disk 'disk1': a mirror is connected by TLS1.3, AES-128-GCM")
    serving.expectLine("disk 'disk1': its connection has ended")
    try serving.end()
  }

  @Test("Whoever goes on in clear is told so, and named")
  func plain() throws {
    let serving = try Serving()
    for way in 0..<3 {
      let client = try NBDClient(serving.place.uri)
      defer { client.close() }
      try client.greet()
      switch way {
      case 0:
        #expect(throws: NBDClient.Ended.refused(NBDClient.Code.tlsRequired)) {
          try client.go("disk0")
        }
      case 1: #expect(throws: NBDClient.Ended.gone) { try client.exportName("disk0") }
      default:
        #expect(try client.ask(NBDClient.Option.abort).isEmpty)
        #expect(client.readToEnd())
      }
    }
    serving.expectLine("disks: a connection has been turned away: it speaks without TLS")
    #expect(serving.place.disks[0].atStandby.allSatisfy { $0 == 0 })
    try serving.end()
  }

  @Test("Where there is no TLS who wants it is told that, and goes on in clear or leaves")
  func without() throws {
    let said = Monitor<[String]>([])
    let place = try DiskPlace(1)
    let standby = try LocalStandby(
      disks: place.options(), lines: said)
    for goesOn in [true, false] {
      let client = try NBDClient(place.uri)
      defer { client.close() }
      try client.greet()
      #expect(throws: NBDClient.Ended.refused(0x8000_0001)) {
        try client.ask(NBDClient.Option.startTLS)
      }
      if goesOn { try client.go("disk0") }
    }
    let isSaid = said.wait(.seconds(20)) { lines -> Bool? in
      lines.contains { $0.contains("it speaks TLS: give --tls-creds here") } ? true : nil
    }
    #expect(isSaid == true)
    standby.receiver.cancel(.failed, "the test is over")
    _ = try standby.refusal()
  }

  @Test("What was said in clear behind STARTTLS is never taken for what came by TLS")
  func injected() throws {
    let serving = try Serving()
    let tls = try serving.credentials()
    // With it: not even an answer.
    for behind in [NBDClient.option(3), [0x16], NBDClient.option(7, NBDClient.infoData("disk0"))] {
      let client = try NBDClient(serving.place.uri)
      defer { client.close() }
      _ = try client.read(18)
      try client.send(UInt32(3).big + NBDClient.option(5) + behind)
      #expect(throws: NBDClient.Ended.gone) { try client.read(1) }
    }
    serving.expectLine("turned away: it goes on in clear behind STARTTLS")
    // Behind the answer: somebody who writes into the connection before the handshake.
    for injected in [NBDClient.option(3), NBDClient.option(2), [0x16, 3, 1, 0, 4, 1, 0, 0, 0]] {
      let client = try NBDClient(serving.place.uri)
      defer { client.close() }
      try client.greet()
      _ = try client.ask(NBDClient.Option.startTLS)
      try client.send(injected)
      #expect(throws: (any Error).self) { try client.shake(tls) }
      // An alert perhaps, and no answer of the protocol's.
      let rest = client.rest()
      #expect(rest.count < 100 && !rest.starts(with: [0, 3, 0xe8, 0x89]), "\(rest)")
    }
    serving.expectLine("turned away: what it says is not TLS")
    // Who waits, and does not, is the same client otherwise.
    let client = try NBDClient(serving.place.uri, export: "disk0", by: tls)
    #expect(try client.perform(.flush).error == 0)
    try serving.end()
  }

  @Test("Who shows no certificate, or another's, or is another, has to leave, and it is told why")
  func refusals() throws {
    let serving = try Serving { $0.subjects = ["O=multifd,CN=client", "CN=client,O=multifd"] }
    func folder(_ fill: (TemporaryFolder) throws -> Void) throws -> TLSCredentials {
      let folder = try TemporaryFolder()
      try fill(folder)
      defer { folder.remove() }
      return try TLSCredentials(in: folder.path, for: .connecting)
    }
    let others = try CertificateAuthority()
    for (credentials, words) in [
      (
        try folder { try serving.authority.fill($0, server: nil, client: nil) },
        "it has shown no certificate"
      ),
      (
        try folder { try serving.authority.fill($0, server: nil, client: .init("mallory")) },
        "is none that may come"
      ),
      // It is the client that does not accept.
      (try folder { try others.fill($0) }, "it does not accept this side: "),
    ] {
      #expect(throws: (any Error).self, "\(words)") {
        let client = try NBDClient(serving.place.uri, export: "disk0", by: credentials)
        try client.perform(.flush)
      }
      serving.expectLine(words)
    }
    _ = try NBDClient(serving.place.uri, export: "disk0", by: serving.credentials())
    try serving.end()
  }

  @Test("Who is slow in the handshake holds up nobody, and has to leave in time")
  func slow() throws {
    let serving = try Serving(timeout: 1)
    let clients = try (0..<30).map { number in
      let client = try NBDClient(serving.place.uri)
      try client.greet()
      if number % 3 > 0 { _ = try client.ask(NBDClient.Option.startTLS) }
      if number % 3 > 1 { try client.send([0x16, 3, 1, 0, 200, 1]) }
      return client
    }
    let client = try NBDClient(
      serving.place.uri, export: "disk0", by: serving.credentials())
    #expect(try client.perform(.flush).error == 0)
    for client in clients { _ = client.rest() }
    #expect(try client.perform(.flush).error == 0)
    try serving.end()
  }

  // MARK: Stock clients

  @Test(
    "A stock QEMU's mirror comes by TLS, and goes on over another connection",
    arguments: [false, true])
  func mirror(isShared: Bool) throws {
    guard QEMUVersion.v111.isAvailableElseAnnounce("mirrors by TLS") else { return }
    let serving = try Serving(isShared: isShared)
    let image = serving.place("primary")
    let disk = serving.place.disks[0]
    try Data(disk.contents).write(to: URL(filePath: image))
    let qemu = try QEMU(
      .v111, .init(type: "q35", fill: 0, workingSet: 0),
      arguments: [
        "-S", "-blockdev", "driver=raw,node-name=disk0,file.driver=file,file.filename=\(image)",
      ])
    defer { qemu.killNow() }
    func add(_ node: String, _ more: [String: JSON]) throws {
      let options: [String: JSON] = [
        "driver": "nbd", "node-name": .string(node), "export": "disk0",
        "server": ["type": "unix", "path": .string(serving.place("nbd"))],
      ]
      try qemu.qmp.execute("blockdev-add", .object(options.merging(more) { $1 }))
    }
    func refusal(_ more: [String: JSON]) -> String {
      do { try add("wrong", more) } catch { return "\(error)" }
      return "none"
    }
    #expect(refusal([:]).contains("TLS negotiation required"))
    serving.expectLine("it speaks without TLS")
    var object: [String: JSON] = [
      "qom-type": isShared ? "tls-creds-psk" : "tls-creds-x509", "id": "tls0",
      "dir": .string(serving.folder.path), "endpoint": "client",
    ]
    if isShared { object["username"] = "other" }
    try qemu.qmp.execute("object-add", .object(object))
    var tls: [String: JSON] = ["tls-creds": "tls0"]
    if !isShared {
      tls["tls-hostname"] = "somebody.else"
      #expect(refusal(tls).contains("does not match the hostname"))
      serving.expectLine("the client: it cut the connection without a word")
      tls["tls-hostname"] = "localhost"
    }
    try add("standby-disk0", tls)
    try qemu.qmp.execute(
      "blockdev-mirror",
      [
        "job-id": "m-disk0", "device": "disk0", "target": "standby-disk0", "sync": "full",
        "copy-mode": "write-blocking", "on-target-error": "stop",
      ])
    let deadline = ContinuousClock.now + .seconds(20)
    while try qemu.qmp.execute("query-block-jobs")[0]["actively-synced"].bool != true {
      guard ContinuousClock.now < deadline else { throw LabError("it is not synced") }
      usleep(20_000)
    }
    let difference = disk.difference(disk.contents)
    #expect(difference == nil)
    try serving.end()
  }

  @Test(
    "nbdinfo and nbdcopy, by nbds:",
    .enabled(if: NBDTools.unavailable == nil, "SKIPPED: there is no nbdinfo and nbdcopy"))
  func tools() throws {
    let serving = try Serving()
    let disk = serving.place.disks[0]
    let query =
      "socket=\(serving.place("nbd"))&tls-certificates=\(serving.folder.path)"
    let list = try JSON(
      parsing: NBDTools.run("nbdinfo", ["--list", "--json", "nbds+unix:///?\(query)"]).utf8)
    #expect(list["exports"].elements.map { $0["export-name"].string } == ["disk0"])
    #expect(list["TLS"].bool == true)
    let original = serving.place("original")
    try Data(disk.contents).write(to: URL(filePath: original))
    let uri = "nbds+unix:///disk0?\(query)"
    _ = try NBDTools.run("nbdcopy", ["--flush", "--requests=32", original, uri])
    let difference = disk.difference(disk.contents)
    #expect(difference == nil)
    let plain = "nbd+unix:///disk0?socket=\(serving.place("nbd"))"
    #expect(throws: (any Error).self) { try NBDTools.run("nbdinfo", [plain]) }
    serving.expectLine("it speaks without TLS")
    try serving.end()
  }
}
