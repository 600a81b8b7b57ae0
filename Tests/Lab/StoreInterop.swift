import TestSupport

/// The part of the matrix in which guests are held in a store on their way.
struct StoreInterop {
  static let compressions = ["none", "zlib", "zstd"]

  private let options: Interop
  private let isTLS: Bool

  /// - Parameter isTLS: by TLS, with certificates and with shared keys.
  init(_ options: Interop, isTLS: Bool = false) {
    (self.options, self.isTLS) = (options, isTLS)
  }

  func run(_ guests: SavedGuests) -> Matrix {
    let (sources, destinations) = (options.source.elements, options.destination.elements)
    var matrix = Matrix(columns: columns)
    let count = sources.count * destinations.count * columns.count
    var number = 0
    for from in sources {
      for to in destinations {
        for column in columns {
          number += 1
          let cell = column.cell(from, to)
          let result = measure(cell, guests)
          matrix.set(cell, result)
          note("[\(number)/\(count)] \(cell): \(result)")
        }
      }
    }
    return matrix
  }

  private var columns: [Matrix.Column] {
    guard isTLS else { return plainColumns }
    let all: [(Int, String, [Credentials.Kind])] = [
      (0, "none", [.x509, .psk]), (1, "none", [.x509]), (4, "none", [.x509, .psk]),
      (1, "zstd", [.x509, .psk]), (4, "zstd", [.x509]),
    ]
    return all.flatMap { channels, compression, ways in
      ways.map { Matrix.Column(channels: channels, compression: compression, tls: $0) }
    }.filter { column in
      (options.channels?.elements.contains(column.channels) ?? true)
        && (options.compression?.elements.contains(column.compression) ?? true)
        && (!options.quick || column.channels != 1)
    }
  }

  private var plainColumns: [Matrix.Column] {
    let wanted = options.channels?.elements ?? [0, 1, 2, 4]
    let counts = options.quick ? wanted.filter { $0 == 0 || $0 == 2 } : wanted
    let names = options.compression?.elements.filter(Self.compressions.contains)
    let plain = counts.contains(0) ? [Matrix.Column(channels: 0, compression: "none")] : []
    return plain
      + (names ?? Self.compressions).flatMap { name in
        counts.filter { $0 > 0 }.map { Matrix.Column(channels: $0, compression: name) }
      }
  }

  private func measure(_ cell: Passage.Cell, _ guests: SavedGuests) -> Matrix.Result {
    for version in [cell.source, cell.destination]
    where !version.isAvailableElseAnnounce("interop with QEMU \(version)") {
      return .skipped
    }
    do {
      let saved = try guests.guest(cell.source, cell.machine)
      let start = ContinuousClock.now
      let passage = try Passage(cell, saved)
      defer { passage.end() }
      let taken = try passage.takeIn()
      passage.endSource()
      let (destination, port) = try passage.startDestination()
      defer { destination.terminate() }
      _ = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
      _ = try passage.check(destination)
      return .passed(start.duration(to: .now))
    } catch {
      return .failed("\(error)")
    }
  }
}
