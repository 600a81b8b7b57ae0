import CHarness

/// What a backend may not change.
struct ProcessState {
  private var hashes = [UInt64](repeating: 0, count: Int(CHARNESS_STATES))

  init() { charness_process_state(&hashes) }

  /// What is different now; nil when nothing is.
  func difference(from earlier: ProcessState) -> String? {
    let names = hashes.indices.filter { hashes[$0] != earlier.hashes[$0] }.map(Self.name)
    return names.isEmpty ? nil : names.joined(separator: ", ")
  }

  private static func name(_ index: Int) -> String {
    // An array of CHARNESS_STATES literals.
    withUnsafeBytes(of: charness_state_names) { bytes in
      String(cString: bytes.load(fromByteOffset: index * 8, as: UnsafePointer<CChar>.self))
    }
  }
}
