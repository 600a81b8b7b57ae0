import CProcessState

/// What a backend may not change.
struct ProcessState {
  private var state = process_state()

  init() { process_state_take(&state) }

  /// What is different now; nil when nothing is.
  func difference(from earlier: ProcessState) -> String? {
    let names = Self.names.indices.filter { part($0) != earlier.part($0) }.map { Self.names[$0] }
    return names.isEmpty ? nil : names.joined(separator: ", ")
  }

  private func part(_ index: Int) -> UInt64 {
    // An array of PROCESS_STATES numbers, which `index` is below.
    withUnsafeBytes(of: state.parts) { $0.load(fromByteOffset: index * 8, as: UInt64.self) }
  }

  private static let names = (0..<Int(PROCESS_STATES)).map { index in
    // An array of PROCESS_STATES literals.
    withUnsafeBytes(of: process_state_names) { bytes in
      String(cString: bytes.load(fromByteOffset: index * 8, as: UnsafePointer<CChar>.self))
    }
  }
}
