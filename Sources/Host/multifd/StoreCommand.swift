import ArgumentParser
import Foundation
import Memory
import Migration
import Store

/// `multifd store`.
struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store", abstract: "What stores lie on.", subcommands: [StoreMountCommand.self])
}

/// `multifd store mount`.
struct StoreMountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mount memory in huge pages for stores. Takes root.",
    discussion: """
      A tmpfs with huge pages, in which stores are made: 'multifd store mount /run/multifd', then \
      'multifd receive --store /run/multifd/guest1 …'. To get memory there takes a tenth of the time that it takes \
      on a tmpfs as systems have it (/dev/shm). 'umount DIR' takes it down, with all guests in it; a restart of the \
      machine, too.
      """)

  @Argument(
    help: ArgumentHelp("An empty folder; made if it is not there.", valueName: "dir"),
    completion: .directory)
  var folder: String

  @Option(help: "The most bytes that it may hold; by default half of the machine's memory.")
  var size: ByteSize?

  @Flag(
    help: ArgumentHelp(
      "The machine's pool of huge pages (hugetlbfs) instead: DIR is a store, its RAM is there.",
      discussion: """
        The pool is the machine's: 'sysctl vm.nr_hugepages=N' sets how many pages it has, best soon after it \
        was started. A guest takes all of its RAM from it at once, written or not, and nobody can take it away.
        """))
  var hugetlb = false

  func run() throws {
    let pages: FilePages
    do {
      pages =
        hugetlb
        ? try StoreMount.hugetlbfs(in: folder, size: size?.bytes)
        : try StoreMount.tmpfs(on: folder, size: size?.bytes)
    } catch { throw Failure(error, at: "store mount") }
    print("\(folder): \(Console.pages(pages.size, pages.fileSystem))")
    if !pages.isHuge {
      Console.note("the kernel gives no huge pages there: see transparent_hugepage/shmem_enabled")
    }
  }
}
