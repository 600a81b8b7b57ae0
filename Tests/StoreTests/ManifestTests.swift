import Foundation
import Store
import TestSupport
import Testing

@Suite("Manifest")
struct ManifestTests {
  @Test("Survives being written and read, with and without what is optional")
  func roundTrip() throws {
    var manifest = TestGuest.manifest
    for full in [false, true] {
      if full {
        manifest.pageBits = 14
        manifest.validateUUID = true
        manifest.heldAt = "2026-01-01T00:00:00Z"
        manifest.handedOverTo = "tcp:[::1]:4444"
        (manifest.earlyStateSize, manifest.deviceStateSize, manifest.vmDescriptionSize) = (1, 2, 3)
      } else {
        (manifest.uuid, manifest.sync) = (nil, nil)
      }
      let data = try JSONEncoder().encode(manifest)
      #expect(try JSONDecoder().decode(Manifest.self, from: data) == manifest)
    }
    #expect(manifest.ramSize == 3 << 20 + 8192)
  }

  @Test("States are spelled as people read them")
  func states() throws {
    #expect(Manifest.State.handingOver.rawValue == "handing-over")
    #expect(Manifest.State.handedOver.rawValue == "handed-over")
    #expect(
      Manifest.State.held.rawValue == "held" && Manifest.State.receiving.rawValue == "receiving")
  }

  @Test(
    "A block's name becomes a file name that stays in its folder",
    arguments: [
      ("pc.ram", "pc.ram"), ("/rom@etc/acpi/tables", "%2From@etc%2Facpi%2Ftables"),
      ("..", "%2E."), (".", "%2E"), (".hidden", "%2Ehidden"), ("a..b", "a..b"), ("a b", "a%20b"),
      ("100%", "100%25"), ("0000:00:02.0/virtio-net-pci.rom", "0000:00:02.0%2Fvirtio-net-pci.rom"),
      ("mem0", "mem0"), ("ü", "%C3%BC"), ("~", "%7E"), ("\\", "%5C"),
    ])
  func fileNames(name: String, file: String) {
    #expect(Manifest.Block(name: name, length: 4096).file == "ram/" + file)
  }

  @Test("Different names are different files")
  func injective() {
    var generator = SeededGenerator(seed: 4)
    let alphabet = Array("a.%/2FE".utf8)
    var files: [String: String] = [:]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
        alphabet.randomElement(using: &generator)!
      }
      let name = String(decoding: bytes, as: UTF8.self)
      let file = Manifest.Block(name: name, length: 4096).file
      #expect(files.updateValue(name, forKey: file) ?? name == name, "\(file)")
      #expect(!file.dropFirst(4).contains("/") && !file.hasPrefix("ram/."))
    }
  }
}
