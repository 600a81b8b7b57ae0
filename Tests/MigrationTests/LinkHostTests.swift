import Foundation
import Migration
import PluginLoader
import SessionReplay
import TestSupport
import Testing
import Wire

/// What the answering side of a link says to hellos (docs/LINK.md section 6).
@Suite("A link's answering side")
struct LinkHostTests {
  private static let session = VMUUID(bytes: Array(1...16))!
  private static let loader = TestBackends.loader

  private static func hello(
    _ role: LinkRole = .main, session: VMUUID = session, page: UInt32 = 4096,
    capacity: UInt32 = 128, formats: [LinkFormat] = [], required: Int = 0
  ) -> LinkHello {
    LinkHello(
      session: session, role: role, pageSize: page, capacity: capacity, formats: formats,
      required: required)!
  }

  private static func refusal(_ host: LinkHost, _ letter: [UInt8]) -> String? {
    do throws(LinkRefusal) { _ = try host.read(letter) } catch { return error.text }
    return nil
  }

  @Test("Main comes first, channels of its session follow, each once")
  func order() throws {
    let host = LinkHost(pageSize: 4096)
    let early = Self.refusal(host, Self.hello(.channel(0)).encode())
    #expect(early == "channel 0 of a session whose main connection is not here")
    host.admit(try host.read(Self.hello().encode()))
    #expect(Self.refusal(host, Self.hello().encode()) == LinkRefusal.taken.text)
    host.admit(try host.read(Self.hello(.channel(3)).encode()))
    #expect(Self.refusal(host, Self.hello(.channel(3)).encode()) == "channel 3 is here already")
    let other = Self.hello(.channel(4), session: VMUUID(bytes: Array(2...17))!)
    #expect(Self.refusal(host, other.encode())?.contains("is not here") == true)
    // What was refused has changed nothing.
    _ = try host.read(Self.hello(.channel(4)).encode())
  }

  @Test("What is wrong with a hello is told by byte and rule, and a version by both")
  func wrong() {
    let host = LinkHost(pageSize: 4096)
    var newer = Self.hello().encode()
    newer[9] = 2
    #expect(
      Self.refusal(host, newer)
        == "the connecting side speaks link version 2.0, the answering side 1.0")
    var long = Self.hello().encode()
    long[12] = 0xff
    #expect(Self.refusal(host, Array(long.prefix(16)))?.contains("announces a body of") == true)
    let small = Self.hello(page: 65536, capacity: 8)
    #expect(
      Self.refusal(host, small.encode())
        == "packets of 8 pages of 65536 bytes, the answering side takes 128 of 4096")
  }

  @Test("Formats that are here are agreed; one by name that is not is refused with what is")
  func formats() throws {
    let lz4 = LinkFormat("lz4/1", bound: 526_360)!
    let foreign = LinkFormat("zfoo/3", bound: 100)!
    let both = Self.hello(formats: [foreign, lz4])
    let agreed = try LinkHost(pageSize: 4096).agree(with: both, loader: Self.loader, only: nil)
    #expect(agreed.formats.agreed == [lz4] && agreed.backends.map(\.name) == ["lz4"])
    let byName = Self.hello(formats: [foreign, lz4], required: 1)
    let error = #expect(throws: LinkRefusal.self) {
      try LinkHost(pageSize: 4096).agree(with: byName, loader: Self.loader, only: nil)
    }
    let text = try #require(error).text
    #expect(text.hasPrefix("zfoo/3 was asked for, the answering side has "), "\(text)")
    #expect(text.contains("lz4/1") && text.contains("zstd/1"), "\(text)")
  }

  @Test("However many say hello, the libraries are looked at only now and then")
  func shelf() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.copyItem(
      atPath: Lab.executableFolder + "/libmultifd-lz4.so", toPath: folder("libmultifd-lz4.so"))
    let loader = PluginLoader(
      searchPath: PluginSearchPath(
        explicit: [folder.path], environment: [:], executable: folder("none/multifd")))
    let hello = Self.hello(formats: [LinkFormat("lz4/1", bound: 526_360)!])
    let seldom = LinkHost(pageSize: 4096, lookingEvery: .seconds(1000))
    let always = LinkHost(pageSize: 4096, lookingEvery: .zero)
    for host in [seldom, always] {
      let agreed = try host.agree(with: hello, loader: loader, only: nil)
      #expect(agreed.formats.agreed.map(\.name) == ["lz4/1"])
    }
    folder.remove()
    #expect(
      try seldom.agree(with: hello, loader: loader, only: nil).formats.agreed.map(\.name)
        == ["lz4/1"])
    #expect(try always.agree(with: hello, loader: loader, only: nil).formats.agreed.isEmpty)
  }

  @Test("An operator who wants one backend gets that or nothing")
  func only() throws {
    let lz4 = LinkFormat("lz4/1", bound: 526_360)!
    let zstd = LinkFormat("zstd/1", bound: 600_000)!
    let spec = try CompressionSpec(parsing: "zstd")
    let agreed = try LinkHost(pageSize: 4096).agree(
      with: Self.hello(formats: [lz4, zstd]), loader: Self.loader, only: spec)
    #expect(agreed.formats.agreed == [zstd])
    let error = #expect(throws: LinkRefusal.self) {
      try LinkHost(pageSize: 4096).agree(
        with: Self.hello(formats: [lz4]), loader: Self.loader, only: spec)
    }
    #expect(
      try #require(error).text
        == "the answering side takes zstd/1 alone, which the connecting side does not offer")
  }
}
