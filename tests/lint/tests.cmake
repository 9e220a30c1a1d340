# Each check looks at the tree, and proves on planted violations that it sees them.
foreach(check layers sizes banned format text)
  set(script ${CMAKE_CURRENT_LIST_DIR}/${check}.py)
  add_test(NAME lint.${check} COMMAND ${Python3_EXECUTABLE} -B ${script} ${CMAKE_SOURCE_DIR})
  add_test(NAME lint.${check}.self COMMAND ${Python3_EXECUTABLE} -B ${script} --self-test)
  set_tests_properties(lint.${check} lint.${check}.self PROPERTIES LABELS lint TIMEOUT 120)
endforeach()
add_test(NAME lint.config COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/config_table.py $<TARGET_FILE:floe>)
add_test(NAME lint.config.self
         COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/config_table.py --self-test)
add_test(NAME lint.metrics COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/metrics_table.py $<TARGET_FILE:floe>)
add_test(NAME lint.metrics.self
         COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/metrics_table.py --self-test)
set_tests_properties(lint.metrics lint.metrics.self PROPERTIES LABELS lint TIMEOUT 60)
set_tests_properties(lint.config lint.config.self PROPERTIES LABELS lint TIMEOUT 60)
