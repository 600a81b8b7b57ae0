import Foundation

extension StoreFolder {
  /// What the store says about itself; nil if it says nothing.
  ///
  /// - Parameter ofAnybody: may be somebody else's: to look at, not to use.
  func manifest(ofAnybody: Bool = false) throws(StoreError) -> Manifest? {
    guard let data = try contents("manifest.json", ofAnybody: ofAnybody) else { return nil }
    struct Version: Codable { var format: Int }
    do {
      let version = try JSONDecoder().decode(Version.self, from: data).format
      guard version == 1 else {
        throw StoreError(.damaged, "\(path) has format \(version); this program reads 1")
      }
      let manifest = try JSONDecoder().decode(Manifest.self, from: data)
      if let wrong = manifest.contradiction {
        throw StoreError(.damaged, "\(path)/manifest.json cannot be right: it says \(wrong)")
      }
      return manifest
    } catch let error as StoreError {
      throw error
    } catch { throw StoreError(.damaged, "\(path)/manifest.json cannot be understood") }
  }

  /// The checkpoint that counts; nil if it is the end of precopy.
  func checkpoint(ofAnybody: Bool = false) throws(StoreError) -> CheckpointRecord? {
    guard let data = try contents("checkpoint", ofAnybody: ofAnybody) else { return nil }
    guard let record = try? JSONDecoder().decode(CheckpointRecord.self, from: data),
      record.number > 0, record.side == 0 || record.side == 1, record.entries >= 0
    else { throw StoreError(.damaged, "\(path)/checkpoint cannot be understood") }
    return record
  }
}
