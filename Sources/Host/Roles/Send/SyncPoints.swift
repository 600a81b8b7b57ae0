import Store
import Wire

/// How a destination learns that every channel has sent its SYNC (SPECIFICATION section 2.5). It
/// has one way, by its machine type or its age, and does not say which. A record that it does not
/// expect is an error there, which costs nothing; but one that expects records and gets none goes
/// on without the channels' pages, and starts the guest.
enum SyncPoints: Equatable {
  /// By a MULTIFD_FLUSH record.
  case flush
  /// By the end of every RAM section.
  case section
  /// To be seen: START is sent without record and SYNCs, and a PING behind it. A destination that
  /// syncs at the section's end waits for the SYNCs, any other answers.
  case unknown

  /// What is known before anything is sent. Only a machine type of a version that every stock QEMU
  /// syncs so makes it `section` unseen, and an operator's word or a source's does not.
  init(_ option: SendOptions.Sync, _ manifest: Manifest) {
    let version = MachineVersion(machine: manifest.machine)
    let isOld = version.map { $0 <= .lastWithSectionSync } ?? false
    let source = version == nil ? nil : manifest.sync
    switch option {
    case .flush: self = .flush
    case .auto where source == "flush": self = .flush
    case .auto where source == nil && version != nil && !isOld: self = .flush
    default: self = isOld ? .section : .unknown
    }
  }

  /// SYNCs that every channel owes: for START, and for what follows.
  var syncs: (before: Int, after: Int) {
    switch self {
    case .flush: (1, 1)
    case .section: (1, 2)
    case .unknown: (0, 1)
    }
  }
}
