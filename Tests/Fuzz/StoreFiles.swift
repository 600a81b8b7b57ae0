import Foundation
import Store
import TestSupport

/// The files of a store, which anybody may have edited or damaged. An input is a checkpoint's record
/// behind its length, in two bytes, and then a manifest.
enum StoreFiles {
  static var seeds: [(name: String, bytes: [UInt8])] {
    var manifest = Manifest(
      state: .standby, machine: "pc-q35-11.1", pageSize: 4096, ramSection: 2,
      blocks: [
        Manifest.Block(name: "pc.ram", length: 1 << 20),
        Manifest.Block(name: "/rom@etc/acpi/tables", length: 1 << 12),
      ])
    manifest.cache = .sparse
    manifest.boot = Manifest.thisBoot
    manifest.disks = [
      Manifest.Disk(
        name: "disk0", image: "/images/a", folder: "/images/a.epochs", session: "s", epoch: 3)
    ]
    let record = CheckpointRecord(
      number: 4, side: 1, entries: 3, deviceStateSize: 100, committedAt: 1.7e9,
      disks: ["disk0": 7])
    let flat = Data(
      #"{"number":3,"side":0,"entries":1,"deviceStateSize":9,"committedAt":1.5e9}"#.utf8)
    // These values are of kinds that always encode.
    let whole = (try? JSONEncoder().encode(manifest)) ?? Data()
    return [("whole", bytes(record.json, whole)), ("0.1", bytes(flat, whole))]
  }

  private static func bytes(_ record: Data, _ manifest: Data) -> [UInt8] {
    [UInt8(record.count & 255), UInt8(record.count >> 8)] + record + manifest
  }

  static func check(_ all: UnsafeRawBufferPointer) {
    guard all.count >= 2 else { return }
    let size = min(Int(all[0]) | Int(all[1]) << 8, all.count - 2)
    do {
      let folder = try TemporaryFolder(.memory(bytes: 1 << 20))
      defer { folder.remove() }
      let store = folder("store")
      try FileManager.default.createDirectory(
        atPath: store, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
      try Data(all[2..<2 + size]).write(to: URL(filePath: store + "/checkpoint"))
      try Data(all[(2 + size)...]).write(to: URL(filePath: store + "/manifest.json"))
      if let status = try? Store.status(of: store), let manifest = status.manifest {
        // Whoever reads it goes by these.
        for block in manifest.blocks where block.file.contains("..") || block.length == 0 {
          breach("a block in \(block.file), \(block.length) bytes")
        }
      }
      _ = try? Store.open(store)
    } catch { breach("no place for a store: \(error)") }
  }
}
