// Package filewatch says when a file, or a folder with what is in it, is worth
// another look, by inotify.
//
// It follows paths as the kernel walks them: what is watched are the folders on the
// way, also behind symbolic links. So it does not matter whether the file or its
// folder is there yet, is replaced by a rename, or is swapped by a link as in a
// volume of Kubernetes. Where the kernel tells nothing, looking often has to do;
// [Watch.Arm] says how often.
//
// Changes by other hosts of a file system on the network, writes by another hard
// link or mmap, and mounts over a folder are not heard of. For them those who use
// this room look now and then without a reason.
package filewatch
