import Results
import Testing

/// What the kernel says of a machine.
@Suite("Machine")
struct MachineTests {
  @Test("the chosen one of several")
  func choice() {
    #expect(Machine.choice("always [madvise] never\n") == "madvise")
    #expect(Machine.choice("6.18.0-1\n") == "6.18.0-1")
    #expect(Machine.choice("") == "unknown")
    #expect(Machine.choice("a ] [b\n") == "a ] [b")
  }

  @Test("values of /proc/cpuinfo and /proc/meminfo")
  func values() {
    let text = "processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\nflags\t\t: a hypervisor b\n"
    #expect(Machine.value("model name", in: text) == "Some CPU @ 2 GHz")
    #expect(Machine.value("flags", in: text) == "a hypervisor b")
    #expect(Machine.value("model", in: text) == nil)
    #expect(Machine.value("MemTotal", in: "MemTotal:       24 kB\n") == "24 kB")
  }

  @Test("the file system of a path is that of the longest place above it, and there the last one")
  func fileSystem() {
    let mounts = """
      /dev/a / ext4 rw 0 0
      tmpfs /dev/shm tmpfs rw,size=1k 0 0
      tmpfs /dev/shm tmpfs rw,size=24g,huge=always 0 0
      tmpfs /dev/shmem tmpfs ro 0 0
      """
    #expect(Machine.fileSystem(of: "/dev/shm/x", in: mounts) == "tmpfs rw,size=24g,huge=always")
    #expect(Machine.fileSystem(of: "/dev/shm", in: mounts) == "tmpfs rw,size=24g,huge=always")
    #expect(Machine.fileSystem(of: "/dev/shmem/y", in: mounts) == "tmpfs ro")
    #expect(Machine.fileSystem(of: "/tmp", in: mounts) == "ext4 rw")
    #expect(Machine.fileSystem(of: "/tmp", in: "") == nil)
  }

  @Test("ticks: idle and waiting for a disk is no work, a hypervisor's theft is")
  func ticks() throws {
    let ticks = try #require(Machine.ticks("cpu  1 2 3 100 50 4 5 6 9 9\ncpu0 1\n"))
    #expect(ticks.busy == 1 + 2 + 3 + 4 + 5 + 6)
    #expect(ticks.all == 171)
    #expect(Machine.ticks("") == nil)
    #expect(Machine.ticks("cpu 1 2") == nil)
  }
}
