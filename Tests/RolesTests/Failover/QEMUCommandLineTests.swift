import Migration
import Roles
import Store
import TestSupport
import Testing

@Suite("The operator's QEMU command, moved onto a store", .beside)
struct QEMUCommandLineTests {
  static let mega: UInt64 = 1 << 20
  static let plain = [("pc.ram", 128 * mega), ("pc.bios", mega), ("/rom@etc/acpi/tables", mega)]

  /// Every backend says how its block is named, for its default depends on the machine type.
  static let off = ",x-use-canonical-path-for-ramblock-id=off"
  static let on = ",x-use-canonical-path-for-ramblock-id=on"

  /// A command, the guest's blocks, and what becomes of the command before what is always added.
  struct Row: Sendable, CustomStringConvertible {
    let description: String
    let command: [String]
    let blocks: [(String, UInt64)]
    var store = "/s"
    let result: [String]
    let mapped: Set<String>
    var leftOut: [String] = []
  }

  static let rows = [
    Row(
      description: "no backend named: the machine's own RAM",
      command: ["qemu", "-machine", "q35", "-m", "128"], blocks: plain,
      result: [
        "qemu", "-machine", "q35", "-m", "128", "-object",
        "memory-backend-file,id=pc.ram,mem-path=/s/ram/pc.ram,share=on,size=134217728\(off)",
        "-machine",
        "memory-backend=pc.ram",
      ], mapped: ["pc.ram"]),
    Row(
      description: "another architecture's name",
      command: ["qemu-system-aarch64", "-M", "virt"], blocks: [("mach-virt.ram", mega)],
      result: [
        "qemu-system-aarch64", "-M", "virt", "-object",
        "memory-backend-file,id=mach-virt.ram,mem-path=/s/ram/mach-virt.ram,share=on,size=1048576\(off)",
        "-machine", "memory-backend=mach-virt.ram",
      ], mapped: ["mach-virt.ram"]),
    Row(
      description: "a memfd backend",
      command: [
        "qemu", "-machine", "q35,memory-backend=mem0", "-object",
        "memory-backend-memfd,id=mem0,size=128M,share=on,prealloc=on",
      ], blocks: [("mem0", 128 * mega), ("pc.bios", mega)],
      result: [
        "qemu", "-machine", "q35,memory-backend=mem0", "-object",
        "memory-backend-file,id=mem0,mem-path=/s/ram/mem0,share=on,size=134217728\(off)",
      ], mapped: ["mem0"]),
    Row(
      description: "a ram backend of an old machine type, by two dashes, by the object's path",
      command: [
        "qemu", "--machine", "pc-i440fx-2.12", "--object", "memory-backend-ram,size=1M,id=m",
        "-numa", "node,memdev=m",
      ], blocks: [("/objects/m", mega)],
      result: [
        "qemu", "--machine", "pc-i440fx-2.12", "--object",
        "memory-backend-file,id=m,mem-path=/s/ram/%2Fobjects%2Fm,share=on,size=1048576\(on)",
        "-numa",
        "node,memdev=m",
      ], mapped: ["/objects/m"]),
    Row(
      description: "NUMA nodes, each in its place, with their policies",
      command: [
        "qemu", "-object", "memory-backend-ram,id=n0,size=64M,host-nodes=0,policy=bind", "-object",
        "memory-backend-ram,id=n1,size=64M,host-nodes=1,policy=bind", "-numa", "node,memdev=n0",
        "-numa", "node,memdev=n1",
      ], blocks: [("n0", 64 * mega), ("n1", 64 * mega)],
      result: [
        "qemu", "-object",
        "memory-backend-file,id=n0,mem-path=/s/ram/n0,share=on,size=67108864\(off),host-nodes=0,policy=bind",
        "-object",
        "memory-backend-file,id=n1,mem-path=/s/ram/n1,share=on,size=67108864\(off),host-nodes=1,policy=bind",
        "-numa", "node,memdev=n0", "-numa", "node,memdev=n1",
      ], mapped: ["n0", "n1"]),
    Row(
      description: "huge pages and files are the primary's affair",
      command: [
        "qemu", "-object",
        "memory-backend-file,id=mem,size=1G,mem-path=/dev/hugepages,share=off,hugetlb=on,hugetlbsize=2M,merge=off",
        "-machine", "memory-backend=mem",
      ], blocks: [("mem", 1024 * mega)],
      result: [
        "qemu", "-object",
        "memory-backend-file,id=mem,mem-path=/s/ram/mem,share=on,size=1073741824\(off),merge=off",
        "-machine", "memory-backend=mem",
      ], mapped: ["mem"]),
    Row(
      description: "where in its file the primary had it, and that file's end, stay behind",
      command: [
        "qemu", "-object",
        "memory-backend-file,id=mem,size=1M,mem-path=/a,,b,offset=2M,discard-data=on,dump=off",
        "-machine", "memory-backend=mem",
      ], blocks: [("mem", mega)],
      result: [
        "qemu", "-object",
        "memory-backend-file,id=mem,mem-path=/s/ram/mem,share=on,size=1048576\(off),dump=off",
        "-machine", "memory-backend=mem",
      ], mapped: ["mem"]),
    Row(
      description: "a backend in JSON, as libvirt writes it",
      command: [
        "qemu", "-machine", "q35,memory-backend=pc.ram", "-object",
        #"{"qom-type":"memory-backend-memfd","id":"pc.ram","size":1,"hugetlb":true,"offset":7,"#
          + #""host-nodes":[0,1],"policy":"bind","prealloc":false}"#,
      ], blocks: plain, store: "/a,b",
      result: [
        "qemu", "-machine", "q35,memory-backend=pc.ram", "-object",
        #"{"host-nodes":[0,1],"id":"pc.ram","mem-path":"/a,b/ram/pc.ram","policy":"bind","#
          + #""qom-type":"memory-backend-file","share":true,"size":134217728,"#
          + #""x-use-canonical-path-for-ramblock-id":false}"#,
      ], mapped: ["pc.ram"]),
    Row(
      description: "other objects in JSON stay as they are",
      command: [
        "qemu", "-object", #"{"qom-type":"rng-random","id":"pc.ram"}"#, "-object",
        #"{"qom-type":"memory-backend-file","id":"nv","mem-path":"/x","size":1}"#,
      ], blocks: [("weird", mega)],
      result: [
        "qemu", "-object", #"{"qom-type":"rng-random","id":"pc.ram"}"#, "-object",
        #"{"qom-type":"memory-backend-file","id":"nv","mem-path":"/x","size":1}"#,
      ], mapped: []),
    Row(
      description: "other objects, and backends that are not the guest's RAM, stay",
      command: [
        "qemu", "-object", "rng-random,id=r,filename=/dev/urandom", "-object",
        "memory-backend-file,id=nv,mem-path=/x,size=1M", "-device", "virtio-rng-pci,rng=r",
      ], blocks: plain,
      result: [
        "qemu", "-object", "rng-random,id=r,filename=/dev/urandom", "-object",
        "memory-backend-file,id=nv,mem-path=/x,size=1M", "-device", "virtio-rng-pci,rng=r",
        "-object",
        "memory-backend-file,id=pc.ram,mem-path=/s/ram/pc.ram,share=on,size=134217728\(off)",
        "-machine", "memory-backend=pc.ram",
      ], mapped: ["pc.ram"]),
    Row(
      description: "a DIMM's backend, and the machine's own RAM beside it",
      command: [
        "qemu", "-object", "memory-backend-ram,id=d0,size=1M", "-device", "pc-dimm,memdev=d0",
        "-device", #"{"driver":"pc-dimm","memdev":"d0"}"#,
      ], blocks: [("d0", mega), ("pc.ram", mega)],
      result: [
        "qemu", "-object",
        "memory-backend-file,id=d0,mem-path=/s/ram/d0,share=on,size=1048576\(off)",
        "-device", "pc-dimm,memdev=d0", "-device", #"{"driver":"pc-dimm","memdev":"d0"}"#,
        "-object",
        "memory-backend-file,id=pc.ram,mem-path=/s/ram/pc.ram,share=on,size=1048576\(off)",
        "-machine", "memory-backend=pc.ram",
      ], mapped: ["d0", "pc.ram"]),
    Row(
      description: "memory of a device that is more than memory stays the device's",
      command: [
        "qemu", "-object", "memory-backend-file,id=nv,size=1M,mem-path=/nv,share=on", "-device",
        "nvdimm,id=x,memdev=nv", "-object", "memory-backend-ram,id=vm,size=1M", "-device",
        #"{"driver":"virtio-mem-pci","memdev":"vm"}"#,
      ], blocks: [("nv", mega), ("vm", mega)],
      result: [
        "qemu", "-object", "memory-backend-file,id=nv,size=1M,mem-path=/nv,share=on", "-device",
        "nvdimm,id=x,memdev=nv", "-object", "memory-backend-ram,id=vm,size=1M", "-device",
        #"{"driver":"virtio-mem-pci","memdev":"vm"}"#,
      ], mapped: []),
    Row(
      description: "where the memory was, and how QEMU begins, is left out",
      command: [
        "qemu", "-mem-path", "/dev/hugepages", "-mem-prealloc", "-daemonize", "-S", "-m", "1",
      ], blocks: [("pc.ram", mega)],
      result: [
        "qemu", "-m", "1", "-object",
        "memory-backend-file,id=pc.ram,mem-path=/s/ram/pc.ram,share=on,size=1048576\(off)",
        "-machine", "memory-backend=pc.ram",
      ], mapped: ["pc.ram"],
      leftOut: ["-mem-path /dev/hugepages", "-mem-prealloc", "-daemonize", "-S"]),
    Row(
      description: "where memory is that is not mapped is QEMU's affair",
      command: ["qemu", "-mem-path", "/x", "-mem-prealloc"], blocks: [("weird", mega)],
      result: ["qemu", "-mem-path", "/x", "-mem-prealloc"], mapped: []),
    Row(
      description: "a comma in the store's path is doubled, as QEMU wants it",
      command: ["qemu"], blocks: [("pc.ram", mega)], store: "/a,b/,",
      result: [
        "qemu", "-object",
        "memory-backend-file,id=pc.ram,mem-path=/a,,b/,,/ram/pc.ram,share=on,size=1048576\(off)",
        "-machine", "memory-backend=pc.ram",
      ], mapped: ["pc.ram"]),
    Row(
      description: "no RAM that could be mapped: all of it is streamed",
      command: ["qemu", "-machine", "none"], blocks: [("weird", mega)],
      result: ["qemu", "-machine", "none"], mapped: []),
    Row(
      description: "an option without its value is QEMU's to complain about",
      command: ["qemu", "-object"], blocks: [("weird", mega)], result: ["qemu", "-object"],
      mapped: []),
  ]

  @Test("Rewritten", arguments: rows)
  func rewritten(row: Row) throws {
    let line = try QEMUCommandLine(
      row.command, store: row.store,
      blocks: row.blocks.map { Manifest.Block(name: $0.0, length: $0.1) }, qmp: "/t/qmp")
    #expect(
      line.arguments
        == row.result + ["-incoming", "defer", "-qmp", "unix:/t/qmp,server=on,wait=off"])
    #expect(line.mapped == row.mapped)
    #expect(line.leftOut == row.leftOut)
  }

  @Test(
    "A command that no store could make right is refused",
    arguments: [
      ["qemu", "-incoming", "defer"], ["qemu", "--incoming", "tcp:0:4444"], [],
      ["qemu", "-object", #"{"qom-type":"memory-backend-ram""#], ["qemu", "--object", "{}x"],
      ["qemu", "-loadvm", "x"],
    ])
  func refused(command: [String]) {
    let failure = #expect(throws: Failure.self) {
      _ = try QEMUCommandLine(
        command, store: "/s",
        blocks: [Manifest.Block(name: "pc.ram", length: Self.mega)], qmp: "/q")
    }
    #expect(failure?.kind == .usage)
  }
}
