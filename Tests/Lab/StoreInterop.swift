import TestSupport

/// The part of the matrix in which guests are held in a store on their way.
struct StoreInterop {
  static let compressions = ["none", "zlib", "zstd"]

  private let options: Interop

  init(_ options: Interop) { self.options = options }

  func run(_ guests: SavedGuests) -> Matrix {
    let (sources, destinations) = (options.source.elements, options.destination.elements)
    var matrix = Matrix(columns: columns)
    let count = sources.count * destinations.count * columns.count
    var number = 0
    for from in sources {
      for to in destinations {
        for column in columns {
          number += 1
          let cell = Passage.Cell(
            from, to, channels: column.channels, compression: column.compression)
          let result = measure(cell, guests)
          matrix.set(cell, result)
          note("[\(number)/\(count)] \(cell): \(result)")
        }
      }
    }
    return matrix
  }

  private var columns: [Matrix.Column] {
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
