# Completion of dv for fish.
function __dv_complete
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l answer (_DV_COMPLETE=fish $words[1] -- $words[2..] "$current" 2>/dev/null)
    switch "$answer[1]"
        case files
            __fish_complete_path "$current"
        case folders
            __fish_complete_directories "$current" ""
        case '*'
            printf '%s\n' $answer[2..]
    end
end
complete --command dv --no-files --keep-order --arguments '(__dv_complete)'
