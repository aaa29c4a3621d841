package mapping

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// noCopyOnWrite is FS_NOCOW_FL of <linux/fs.h>.
const noCopyOnWrite = 0x00800000

// verdict says whether a file system can hold spaces.
type verdict struct {
	name string
	kind verdictKind
}

type verdictKind int

const (
	unknown     verdictKind = iota
	good                    // allocated space can be written, mappings are coherent, all processes see locks
	copyOnWrite             // later writes need new space in spite of an allocation, unless the file is no-COW
	remote                  // other machines may use the files as well
	inUserSpace             // a server program decides whether mappings are coherent
	overlay                 // as the upper file system
	noFiles                 // not a place for data
)

// fileSystems has the verdict by the magic number of statfs(2). CheckFileSystem refuses file
// systems that are not in it: nobody has examined them.
var fileSystems = map[int64]verdict{
	unix.EXT4_SUPER_MAGIC:      {"ext2, ext3 or ext4", good},
	unix.XFS_SUPER_MAGIC:       {"xfs", good},
	unix.TMPFS_MAGIC:           {"tmpfs", good},
	unix.BTRFS_SUPER_MAGIC:     {"btrfs", copyOnWrite},
	unix.BCACHEFS_SUPER_MAGIC:  {"bcachefs", copyOnWrite},
	0x2fc12fc1:                 {"zfs", copyOnWrite},
	unix.F2FS_SUPER_MAGIC:      {"f2fs", copyOnWrite},
	unix.NILFS_SUPER_MAGIC:     {"nilfs2", copyOnWrite},
	unix.NFS_SUPER_MAGIC:       {"nfs", remote},
	unix.SMB_SUPER_MAGIC:       {"smb", remote},
	unix.SMB2_SUPER_MAGIC:      {"smb", remote},
	unix.CIFS_SUPER_MAGIC:      {"cifs", remote},
	unix.CEPH_SUPER_MAGIC:      {"ceph", remote},
	unix.AFS_SUPER_MAGIC:       {"afs", remote},
	unix.CODA_SUPER_MAGIC:      {"coda", remote},
	unix.OCFS2_SUPER_MAGIC:     {"ocfs2", remote},
	0x01161970:                 {"gfs2", remote},
	0x0bd00bd0:                 {"lustre", remote},
	unix.V9FS_MAGIC:            {"9p", remote},
	unix.FUSE_SUPER_MAGIC:      {"fuse", inUserSpace},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlay", overlay},
	unix.PROC_SUPER_MAGIC:      {"proc", noFiles},
	unix.SYSFS_MAGIC:           {"sysfs", noFiles},
	unix.RAMFS_MAGIC:           {"ramfs", noFiles},
	unix.MSDOS_SUPER_MAGIC:     {"fat", noFiles},
}

// CheckFileSystem returns nil if a space may lie in the directory, and otherwise an
// *UnsupportedError that names the file system and says what to do. The file system must
// guarantee that allocated space can be written when the disk is full, and that all
// processes that open a file see the same memory and the same locks.
func CheckFileSystem(dir string) error {
	var s unix.Statfs_t
	if err := retryInterrupted(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return &os.PathError{Op: "examine the file system of", Path: dir, Err: err}
	}
	v := fileSystems[fileSystemMagic(&s)]
	refuse := func(reason, advice string) error {
		name := v.name
		if name == "" {
			name = fmt.Sprintf("of unknown type %#x", fileSystemMagic(&s))
		}
		return &UnsupportedError{fmt.Sprintf("the file system of %s (%s)", dir, name), reason, advice}
	}
	const elsewhere = "put the space on ext4, xfs or tmpfs"
	switch v.kind {
	case good:
		return nil
	case copyOnWrite:
		if (v.name == "btrfs" || v.name == "bcachefs") && isNoCopyOnWrite(dir) {
			return nil
		}
		return refuse("it copies on write, so allocated space may still be missing when it is written",
			elsewhere+", or on btrfs make the directory no-COW while it is empty: chattr +C "+dir)
	case remote:
		return refuse("files shared with other machines cannot be mapped coherently", elsewhere+" of this machine")
	case inUserSpace:
		return refuse("it does not promise coherent mappings and locks", elsewhere)
	case overlay:
		return checkOverlay(dir, &s, refuse)
	case noFiles:
		return refuse("it cannot hold the files of a space", elsewhere)
	default:
		return refuse("whether it keeps allocated space writable is not known", elsewhere)
	}
}

// fileSystemMagic returns the type of the file system. Where the field is a signed 32-bit
// number, it drops the sign extension.
func fileSystemMagic(s *unix.Statfs_t) int64 { return int64(uint32(s.Type)) }

// isNoCopyOnWrite reports whether new files in the directory are written in place.
func isNoCopyOnWrite(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	flags, err := unix.IoctlGetUint32(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&noCopyOnWrite != 0
}

// checkOverlay judges an overlay, the root of most containers, by its upper file system,
// which has all files that are written: mappings and allocations go there, and locks are
// those of the overlay. Inside a container the upper directory is usually not visible. Then
// checkOverlay accepts the overlay unless it seems to be on btrfs. In practice the upper
// file system is ext4 or xfs; a refusal would exclude all containers because of a full disk
// under few of them.
func checkOverlay(dir string, s *unix.Statfs_t, refuse func(reason, advice string) error) error {
	const advice = "put the space on a volume of ext4, xfs or tmpfs"
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		upper := upperDirectory(string(mounts), deviceOf(dir))
		var below unix.Statfs_t
		if upper != "" && retryInterrupted(func() error { return unix.Statfs(upper, &below) }) == nil {
			switch fileSystems[fileSystemMagic(&below)].kind {
			case good:
				return nil
			case overlay: // a directory of this container that has the same name: not the upper directory
			default:
				if err := CheckFileSystem(upper); err != nil {
					return refuse(fmt.Sprintf("what it writes to is not: %v", err), advice)
				}
				return nil
			}
		}
	}
	// An overlay reports the counts of its upper file system. Only file systems that create
	// inodes as needed, such as btrfs, report 0 inodes.
	if s.Files == 0 {
		return refuse("it appears to write to btrfs, which copies on write", advice)
	}
	return nil
}

// deviceOf returns "major:minor" of the device of a directory, or "".
func deviceOf(dir string) string {
	var s unix.Stat_t
	if err := retryInterrupted(func() error { return unix.Stat(dir, &s) }); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(uint64(s.Dev)), unix.Minor(uint64(s.Dev)))
}

// upperDirectory finds the upper directory of the overlay with that device, in the text of
// /proc/self/mountinfo; "" if it is not there.
func upperDirectory(mountinfo, device string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(mount) < 3 || mount[2] != device || len(kind) < 3 || kind[0] != "overlay" {
			continue
		}
		for option := range strings.SplitSeq(kind[2], ",") {
			if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
				return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(dir)
			}
		}
	}
	return ""
}

// retryInterrupted repeats a call without side effects while signals interrupt it.
func retryInterrupted(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
